"""A molecule along a line: its steps in order, its bonds as arcs over them.

Derivations (strong logic) run above the line; returns and jumps (reflection, exploration) run below, so that the two
never cross.
"""

import math
from collections.abc import Sequence

from stillery.bonds.draw.layout import (
    CONFLICT,
    HEADER,
    MARGIN,
    MAX_QUOTED,
    STYLES,
    WIDTH,
    Curve,
    Layout,
    Mark,
    Tick,
    bond_title,
    clip,
    corrections,
    legend_of,
    line_width,
    quote_steps,
    state_of,
    summarize,
    tick_numbers,
)
from stillery.records import Atom, BondKind, Molecule

_ARC_HEIGHT = 150.0


def arc_layout(molecule: Molecule, *, title: str = "") -> Layout:
    """The layout. Raises ValueError for a molecule without atoms."""
    count = len(molecule.atoms)
    if not count:
        raise ValueError(f"molecule {molecule.sample_id!r} has no atoms: there is nothing to draw")
    spacing = (WIDTH - 2 * MARGIN) / max(count - 1, 1)
    xs = [MARGIN + index * spacing for index in range(count)] if count > 1 else [WIDTH / 2]
    arcs = [*_bond_arcs(molecule, xs), *_correction_arcs(molecule.atoms, xs)]
    baseline = HEADER + max((arc.rise for arc in arcs if arc.rise > 0), default=0.0) + 10.0
    below = baseline + max((-arc.rise for arc in arcs if arc.rise < 0), default=0.0) + 24.0
    quotes, end = quote_steps(molecule.atoms, top=below)
    return Layout(
        height=math.ceil(end + 10.0),
        heading=clip(title, 84),
        summary=summarize(molecule),
        legend=legend_of(molecule),
        trail=[(MARGIN, baseline), (WIDTH - MARGIN, baseline)],
        curves=[_move(arc, baseline) for arc in arcs],
        marks=[_mark(atom, index, xs[index], baseline, spacing=spacing) for index, atom in enumerate(molecule.atoms)],
        ticks=[Tick(xs[n - 1], below, n, (xs[n - 1], baseline)) for n in tick_numbers(count) if count > MAX_QUOTED],
        quotes=quotes,
    )


def rise_of(left: float, right: float) -> float:
    """The height of an arc: half a circle while it is short, then the root of its length, to spread long ones."""
    radius, longest = (right - left) / 2, WIDTH / 2 - MARGIN
    return min(radius, _ARC_HEIGHT * math.sqrt(radius / longest))


def _bond_arcs(molecule: Molecule, xs: Sequence[float]) -> list[Curve]:
    """Weak bonds first, so that the strong ones lie on top."""
    arcs: list[Curve] = []
    for bond in sorted(molecule.bonds, key=lambda bond: bond.strength):
        style, left, right = STYLES[BondKind(bond.kind)], xs[bond.source], xs[bond.target]
        rise = rise_of(left, right) * (1 if style.above else -1)
        width = line_width(bond.strength, crowd=len(molecule.bonds))
        title = bond_title(bond.source, bond.target, style, bond.strength, bond.evidence)
        arcs.append(Curve((left, 0.0), (right, 0.0), rise, 0.0, width, style.colour, style.dashes, title))
    return arcs


def _correction_arcs(atoms: Sequence[Atom], xs: Sequence[float]) -> list[Curve]:
    """A thin red line from each step that was false to the one that corrects it, just inside a bond's own arc."""
    return [
        Curve(
            (xs[i], 0.0), (xs[j], 0.0), -0.8 * rise_of(xs[i], xs[j]), 0.0, 1.1, CONFLICT, (),
            f"Step {j + 1} corrects step {i + 1}",
        )
        for i, j in corrections(atoms)
    ]  # fmt: skip


def _move(arc: Curve, baseline: float) -> Curve:
    return Curve(
        (arc.start[0], baseline), (arc.end[0], baseline), arc.rise, arc.bend, arc.width, arc.colour, arc.dashes,
        arc.title,
    )  # fmt: skip


def _mark(atom: Atom, index: int, x: float, baseline: float, *, spacing: float) -> Mark:
    state = state_of(atom)
    # However many steps there are, a conflict stays large enough to be visible.
    radius = min(max(spacing / 2.7, 0.5 if state == "plain" else 3.2), 9.5)
    return Mark(x, baseline, radius, state, index + 1, atom.inserted, atom.text)
