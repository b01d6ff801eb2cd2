"""Where the parts of a drawn molecule go: a molecule in, arcs and marks in page units out.

Steps lie on a line in their order; a bond is an arc from the earlier step to the later. Derivations (strong logic)
run above the line; what returns or jumps (reflection, exploration) runs below, so that the two never cross.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from stillery.records import Atom, BondKind, Molecule

WIDTH = 760.0
MARGIN = 28.0
# Up to this many steps, each carries its number and is quoted below the picture.
MAX_QUOTED = 24

_ARC_HEIGHT = 150.0
_HEADER = 84.0
_ROW = 15.0
_QUOTE_COLUMNS = 64
# No bond is weaker (see the bands in the documentation), so its line is the thinnest.
_WEAKEST = 0.3


@dataclass(frozen=True, slots=True)
class KindStyle:
    """How a kind of bond is drawn. Dashes are lengths in units of the line's width."""

    name: str
    colour: str
    dashes: tuple[float, ...]
    above: bool


# Okabe and Ito's colours, darkened for thin lines: told apart with any colour vision. Conflicts alone are red.
STYLES = {
    BondKind.STRONG_LOGIC: KindStyle("strong logic", "#0072b2", (), True),
    BondKind.REFLECTION: KindStyle("reflection, verification", "#00805c", (5.0, 2.0), False),
    BondKind.EXPLORATION: KindStyle("exploration, association", "#b35c00", (1.5, 2.0), False),
}
CONFLICT = "#c01f1f"
INK, QUIET, RULE, GUIDE, PAPER = "#1c1e21", "#595e66", "#c9c9c4", "#ebebe8", "#ffffff"
FILLS = {"plain": PAPER, "corrected": PAPER, "false": CONFLICT}
# Steps too small for a fill are dots of the stroke's colour, the plain ones quiet.
DOT_RADIUS = 2.0
STROKES = {"plain": INK, "corrected": CONFLICT, "false": CONFLICT}
LEGEND_Y = 66.0
LEGEND_STEP = 186.0
CONFLICT_NAME = "false claim (ring: corrected)"
# Smaller marks carry no number.
NUMBERED_RADIUS = 7.0


@dataclass(frozen=True, slots=True)
class Arc:
    """Half an ellipse over two points of the line; `rise` is its height, negative below the line."""

    left: float
    right: float
    rise: float
    width: float
    colour: str
    dashes: tuple[float, ...]
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A step on the line. `state` is plain, false (uncorrected) or corrected; `inserted` ones are squares."""

    x: float
    radius: float
    state: str
    number: int
    inserted: bool
    text: str


@dataclass(frozen=True, slots=True)
class Quote:
    """The start of a step's text, with the top left corner of where it is written."""

    x: float
    y: float
    number: int
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class Layout:
    """All that is drawn, on a page of `width` x `height` units, y downwards. `ticks` are (x, number), at `tick_y`."""

    height: float
    baseline: float
    tick_y: float
    heading: str
    summary: str
    legend: Sequence[tuple[str, KindStyle]]
    arcs: Sequence[Arc]
    marks: Sequence[Mark]
    ticks: Sequence[tuple[float, int]]
    quotes: Sequence[Quote]
    width: float = WIDTH

    def marks_in_order(self) -> list[Mark]:
        """The marks in the order of drawing: those that warn lie on top of their neighbours."""
        return sorted(self.marks, key=lambda mark: mark.state != "plain")


def layout(molecule: Molecule, *, title: str = "") -> Layout:
    """Where everything goes. Raises ValueError for a molecule without atoms."""
    count = len(molecule.atoms)
    if not count:
        raise ValueError(f"molecule {molecule.sample_id!r} has no atoms: there is nothing to draw")
    spacing = (WIDTH - 2 * MARGIN) / max(count - 1, 1)
    xs = [MARGIN + index * spacing for index in range(count)] if count > 1 else [WIDTH / 2]
    quoted = count <= MAX_QUOTED
    arcs = [*_bond_arcs(molecule, xs), *_correction_arcs(molecule.atoms, xs)]
    baseline = _HEADER + max((arc.rise for arc in arcs if arc.rise > 0), default=0.0) + 10.0
    below = baseline + max((-arc.rise for arc in arcs if arc.rise < 0), default=0.0) + 24.0
    rows = math.ceil(count / 2) if quoted else 0
    return Layout(
        height=math.ceil(below + (rows * _ROW + 14.0 if quoted else 10.0)),
        baseline=baseline,
        tick_y=below,
        heading=clip(title, 84),
        summary=summarize(molecule),
        legend=_legend(molecule),
        arcs=arcs,
        marks=[_mark(atom, index, xs[index], spacing=spacing) for index, atom in enumerate(molecule.atoms)],
        ticks=[] if quoted else [(xs[number - 1], number) for number in _ticks(count)],
        quotes=[_quote(atom, i, rows=rows, top=below) for i, atom in enumerate(molecule.atoms)] if quoted else [],
    )


def summarize(molecule: Molecule) -> str:
    """The molecule in one line of numbers."""
    return (
        f"{len(molecule.atoms)} steps, {len(molecule.bonds)} bonds, conflict {molecule.conflict:.3g}, "
        f"stability {molecule.stability:.3f} (sum {molecule.stability_sum:.1f})"
    )


def state_of(atom: Atom) -> str:
    """Whether a step makes a `false` claim that nothing corrects, else one that is `corrected`, else `plain`."""
    false = [claim for claim in atom.claims if claim.holds is False]
    if not false:
        return "plain"
    return "false" if any(claim.corrected_by is None for claim in false) else "corrected"


def clip(text: str, columns: int) -> str:
    """The text on one line, cut to a number of columns; East Asian wide characters take two."""
    text, used = " ".join(text.split()), 0
    for index, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > columns:
            return text[:index].rstrip() + "…"
    return text


def _ticks(count: int) -> list[int]:
    """The numbers of about a dozen steps: the first, and round ones."""
    step = next(step for step in (5, 10, 20, 50, 100, 200, 500, 1000, count) if count / step <= 13 or step == count)
    return [1, *range(step, count + 1, step)]


def rise_of(left: float, right: float) -> float:
    """The height of an arc: half a circle while it is short, then as the root of its length, to spread long ones."""
    radius, longest = (right - left) / 2, WIDTH / 2 - MARGIN
    return min(radius, _ARC_HEIGHT * math.sqrt(radius / longest))


def _line_width(strength: float, *, crowd: int) -> float:
    """The width of a bond's line: 0.8 at the weakest, 3.6 at strength 1, thinner in a crowd of bonds."""
    width = 0.8 + 4.0 * max(strength - _WEAKEST, 0.0)
    return max(width * min(1.0, 0.1 + math.sqrt(30 / max(crowd, 1))), 0.4)


def _bond_arcs(molecule: Molecule, xs: Sequence[float]) -> list[Arc]:
    """Weak bonds first, so that the strong ones lie on top."""
    arcs: list[Arc] = []
    for bond in sorted(molecule.bonds, key=lambda bond: bond.strength):
        style, left, right = STYLES[BondKind(bond.kind)], xs[bond.source], xs[bond.target]
        rise = rise_of(left, right) * (1 if style.above else -1)
        width = _line_width(bond.strength, crowd=len(molecule.bonds))
        title = f"{bond.source + 1} → {bond.target + 1}: {style.name} {bond.strength:.2f}. {bond.evidence}"
        arcs.append(Arc(left, right, rise, width, style.colour, style.dashes, title))
    return arcs


def _correction_arcs(atoms: Sequence[Atom], xs: Sequence[float]) -> list[Arc]:
    """A thin red line from each step that was false to the one that corrects it, just inside a bond's own arc."""
    pairs = {(i, c.corrected_by) for i, atom in enumerate(atoms) for c in atom.claims if c.corrected_by is not None}
    return [
        Arc(xs[i], xs[j], -0.8 * rise_of(xs[i], xs[j]), 1.1, CONFLICT, (), f"Step {j + 1} corrects step {i + 1}")
        for i, j in sorted(pairs)
    ]


def _mark(atom: Atom, index: int, x: float, *, spacing: float) -> Mark:
    state = state_of(atom)
    # However many steps there are, a conflict stays large enough to be seen.
    radius = min(max(spacing / 2.7, 0.5 if state == "plain" else 3.2), 9.5)
    return Mark(x, radius, state, index + 1, atom.inserted, atom.text)


def _quote(atom: Atom, index: int, *, rows: int, top: float) -> Quote:
    column, row = divmod(index, rows)
    x = MARGIN + column * (WIDTH - 2 * MARGIN) / 2
    return Quote(x, top + row * _ROW, index + 1, state_of(atom), clip(atom.text, _QUOTE_COLUMNS))


def _legend(molecule: Molecule) -> list[tuple[str, KindStyle]]:
    counts = [(sum(bond.kind == kind for bond in molecule.bonds), style) for kind, style in STYLES.items()]
    return [(f"{style.name} ({count})", style) for count, style in counts]
