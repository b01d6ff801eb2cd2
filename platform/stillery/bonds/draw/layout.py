"""The elements of a molecule's drawing, in page units, for every layout: curves, marks, ticks and quotes.

`drawing_arcs` lays a molecule out along a line, `drawing_force` as a graph; both draw bonds and steps alike.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from stillery.records import Atom, BondKind, Molecule

WIDTH = 760.0
MARGIN = 28.0
# Up to this many steps, each is numbered and quoted below the picture.
MAX_QUOTED = 24

HEADER = 84.0
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


# Okabe and Ito's colours, darkened for thin lines: distinguishable with any colour vision. Only conflicts are red.
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
# Smaller marks have no number.
NUMBERED_RADIUS = 7.0


Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """A line from one point to another. With `rise` it is half an ellipse of that height over two points at the same
    level, downwards if negative; else a parabola that passes `bend` to the left of its chord, 0 for a straight line."""

    start: Point
    end: Point
    rise: float
    bend: float
    width: float
    colour: str
    dashes: tuple[float, ...]
    title: str

    def control(self) -> Point:
        """The control point of the parabola."""
        (x1, y1), (x2, y2) = self.start, self.end
        length = math.hypot(x2 - x1, y2 - y1) or 1.0
        across = 2 * self.bend / length
        return (x1 + x2) / 2 + across * (y2 - y1), (y1 + y2) / 2 - across * (x2 - x1)


@dataclass(frozen=True, slots=True)
class Mark:
    """A step. `state` is plain, false (uncorrected) or corrected; `inserted` ones are squares."""

    x: float
    y: float
    radius: float
    state: str
    number: int
    inserted: bool
    text: str


@dataclass(frozen=True, slots=True)
class Tick:
    """The number of a step that is too small to hold it, with its position; `guide` is the start of a line to it."""

    x: float
    y: float
    number: int
    guide: Point | None


@dataclass(frozen=True, slots=True)
class Quote:
    """The start of a step's text, with the top left corner of its position."""

    x: float
    y: float
    number: int
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class Layout:
    """All elements of a drawing, on a page of `width` x `height` units, y downwards. `trail` leads through the steps in
    order."""

    height: float
    heading: str
    summary: str
    legend: Sequence[tuple[str, KindStyle]]
    trail: Sequence[Point]
    curves: Sequence[Curve]
    marks: Sequence[Mark]
    ticks: Sequence[Tick]
    quotes: Sequence[Quote]
    width: float = WIDTH

    def marks_in_order(self) -> list[Mark]:
        """The marks in drawing order: warning marks lie on top of their neighbours."""
        return sorted(self.marks, key=lambda mark: mark.state != "plain")


def summarize(molecule: Molecule) -> str:
    """The molecule in one line of numbers."""
    return (
        f"{len(molecule.atoms)} steps, {len(molecule.bonds)} bonds, conflict {molecule.conflict:.3g}, "
        f"stability {molecule.stability:.3f} (sum {molecule.stability_sum:.1f})"
    )


def state_of(atom: Atom) -> str:
    """`false` for a step with an uncorrected false claim, else `corrected` for one with a corrected claim, else
    `plain`."""
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


def tick_numbers(count: int) -> list[int]:
    """The numbers of about a dozen steps: the first, and round ones."""
    step = next(step for step in (5, 10, 20, 50, 100, 200, 500, 1000, count) if count / step <= 13 or step == count)
    return [1, *range(step, count + 1, step)]


def line_width(strength: float, *, crowd: int) -> float:
    """The width of a bond's line: 0.8 at the weakest, 3.6 at strength 1, thinner in a crowd of bonds."""
    width = 0.8 + 4.0 * max(strength - _WEAKEST, 0.0)
    return max(width * min(1.0, 0.1 + math.sqrt(30 / max(crowd, 1))), 0.4)


def corrections(atoms: Sequence[Atom]) -> list[tuple[int, int]]:
    """The false steps, each with one that corrects it."""
    return sorted({(i, c.corrected_by) for i, a in enumerate(atoms) for c in a.claims if c.corrected_by is not None})


def bond_title(source: int, target: int, style: KindStyle, strength: float, evidence: str) -> str:
    """The tooltip of a bond."""
    return f"{source + 1} → {target + 1}: {style.name} {strength:.2f}. {evidence}"


def quote_steps(atoms: Sequence[Atom], *, top: float) -> tuple[list[Quote], float]:
    """The texts of a short trace's steps in two columns, and where they end; none for a long one."""
    if len(atoms) > MAX_QUOTED:
        return [], top
    rows = math.ceil(len(atoms) / 2)
    return [_quote(atom, i, rows=rows, top=top) for i, atom in enumerate(atoms)], top + rows * _ROW + 4.0


def _quote(atom: Atom, index: int, *, rows: int, top: float) -> Quote:
    column, row = divmod(index, rows)
    x = MARGIN + column * (WIDTH - 2 * MARGIN) / 2
    return Quote(x, top + row * _ROW, index + 1, state_of(atom), clip(atom.text, _QUOTE_COLUMNS))


def legend_of(molecule: Molecule) -> list[tuple[str, KindStyle]]:
    """The kinds with their numbers of bonds, and how they are drawn."""
    counts = [(sum(bond.kind == kind for bond in molecule.bonds), style) for kind, style in STYLES.items()]
    return [(f"{style.name} ({count})", style) for count, style in counts]
