"""A molecule as a graph: bonded steps are near each other, and a line through the steps shows their order.

A force-directed layout (Fruchterman and Reingold, 1991): bonds and the trail pull, all near pairs push. It starts from
a spiral in the order of the trace and draws no random number, so the same molecule always looks the same; only near
pairs are considered, so that long traces take time linear in their length. Networkx's layouts consider all pairs, so
that 2,000 steps take them far longer, and past a hundred steps they place many on top of each other.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from stillery.bonds.draw.layout import (
    CONFLICT,
    HEADER,
    MARGIN,
    MAX_QUOTED,
    NUMBERED_RADIUS,
    STYLES,
    WIDTH,
    Curve,
    Layout,
    Mark,
    Point,
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

Array = NDArray[np.float64]

# Width to height of the layout area.
ASPECT = 1.5
_NUM_ROUNDS = 250
# Past 400 steps there are fewer rounds, so that the longest traces are drawn in seconds.
_STEP_ROUNDS = 100_000
_MIN_ROUNDS = 60
# In units of the distance at which a lone bond comes to rest.
_REACH = 4.0
_FIRST_STEP = 1.5
_TRAIL_PULL = 0.35
_CENTRE_PULL = 0.012
# Bonds of both kinds between two steps bend to either side.
_BENDS = {BondKind.STRONG_LOGIC: 0.0, BondKind.REFLECTION: 0.13, BondKind.EXPLORATION: -0.13}
_CORRECTION_BEND = -0.2


def force_positions(molecule: Molecule) -> list[Point]:
    """The position of each step, x and y from 0 to 1, of an area `ASPECT` times as wide as high; y downwards."""
    count = len(molecule.atoms)
    if count < 2:
        return [(0.5, 0.5)] * count
    ends, pulls = _springs(molecule)
    places = _spiral(count)
    num_rounds = min(_NUM_ROUNDS, max(_MIN_ROUNDS, _STEP_ROUNDS // count))
    for index in range(num_rounds):
        moved = _forces(places, ends, pulls)
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        longest = _FIRST_STEP * (1 - index / num_rounds) ** 1.5 + 0.01
        places = places + moved * np.minimum(1.0, longest / np.maximum(length, 1e-9))
    return _fit(places)


def force_layout(molecule: Molecule, *, title: str = "") -> Layout:
    """The layout. Raises ValueError for a molecule without atoms."""
    count = len(molecule.atoms)
    if not count:
        raise ValueError(f"molecule {molecule.sample_id!r} has no atoms: there is nothing to draw")
    width = WIDTH - 2 * MARGIN
    height = width / ASPECT if count > 3 else 120.0
    places = [(MARGIN + x * width, HEADER + 8.0 + y * height) for x, y in force_positions(molecule)]
    below = HEADER + height + 34.0
    quotes, end = quote_steps(molecule.atoms, top=below)
    radius = min(9.5, max(2.2, 0.2 * math.sqrt(width * height / count)))
    return Layout(
        height=math.ceil(end if quotes else below),
        heading=clip(title, 84),
        summary=summarize(molecule),
        legend=legend_of(molecule),
        trail=places,
        curves=[*_bond_curves(molecule, places), *_correction_curves(molecule.atoms, places)],
        marks=[_mark(atom, index, places[index], radius) for index, atom in enumerate(molecule.atoms)],
        ticks=[
            Tick(places[n - 1][0], places[n - 1][1] - radius - 3.0, n, None)
            for n in tick_numbers(count)
            if radius < NUMBERED_RADIUS and count > MAX_QUOTED
        ],
        quotes=quotes,
    )


def _springs(molecule: Molecule) -> tuple[NDArray[np.int64], Array]:
    """The pairs of steps that pull on each other, and how strongly. A bond of a step with many pulls less, so that a
    heavily used step does not draw all others into one heap."""
    pulls: dict[tuple[int, int], float] = {}
    degrees = np.zeros(len(molecule.atoms))
    for bond in molecule.bonds:
        pair = bond.source, bond.target
        pulls[pair] = max(pulls.get(pair, 0.0), bond.strength)
    for source, target in pulls:
        degrees[[source, target]] += 1
    for (source, target), strength in pulls.items():
        pulls[source, target] = strength / math.sqrt(max(degrees[source], degrees[target]))
    for index in range(len(molecule.atoms) - 1):
        pulls[index, index + 1] = pulls.get((index, index + 1), 0.0) + _TRAIL_PULL
    return np.array(list(pulls), dtype=np.int64), np.array(list(pulls.values()))


def _spiral(count: int) -> Array:
    """Points a unit apart on a spiral outwards."""
    angles = np.sqrt(np.arange(count) + 1.0) * 3.5
    radii = angles / (2 * math.pi) + 0.5
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _forces(places: Array, ends: NDArray[np.int64], pulls: Array) -> Array:
    total = -_CENTRE_PULL * places * np.array([1.0, ASPECT])
    between = places[ends[:, 1]] - places[ends[:, 0]]
    length = np.linalg.norm(between, axis=1, keepdims=True)
    pull = between * length * pulls[:, None] * 0.5
    np.add.at(total, ends[:, 0], pull)
    np.add.at(total, ends[:, 1], -pull)
    pairs = KDTree(places).query_pairs(_REACH, output_type="ndarray")
    apart = places[pairs[:, 1]] - places[pairs[:, 0]]
    squared = np.maximum((apart**2).sum(axis=1, keepdims=True), 1e-3)
    # The push falls to zero at the cutoff distance, so that no step jumps as a pair comes into reach.
    push = apart / squared * np.maximum(1 - squared / _REACH**2, 0.0)
    np.add.at(total, pairs[:, 0], -push)
    np.add.at(total, pairs[:, 1], push)
    return total


def _fit(places: Array) -> list[Point]:
    """Rotated so that the longest extent is horizontal and the trace begins at the top left, then stretched to the
    area, at most by half more in one direction than in the other."""
    centred = places - places.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    turned = centred @ axes[:, ::-1]
    quarter = max(len(turned) // 4, 1)
    for axis in (0, 1):
        if turned[:quarter, axis].mean() > turned[-quarter:, axis].mean():
            turned[:, axis] *= -1
    low, extent = turned.min(axis=0), np.maximum(np.ptp(turned, axis=0), 1e-6)
    scale = np.array([ASPECT, 1.0]) / extent
    scale = np.minimum(scale, 1.5 * scale.min())
    room = np.array([ASPECT, 1.0]) - extent * scale
    fitted = ((turned - low) * scale + room / 2) / np.array([ASPECT, 1.0])
    return [(round(float(x), 4), round(float(y), 4)) for x, y in fitted]


def _bond_curves(molecule: Molecule, places: Sequence[Point]) -> list[Curve]:
    """Weak bonds first, so that the strong ones lie on top."""
    curves: list[Curve] = []
    for bond in sorted(molecule.bonds, key=lambda bond: bond.strength):
        kind = BondKind(bond.kind)
        style, start, end = STYLES[kind], places[bond.source], places[bond.target]
        title = bond_title(bond.source, bond.target, style, bond.strength, bond.evidence)
        width = line_width(bond.strength, crowd=len(molecule.bonds))
        bend = _BENDS[kind] * math.dist(start, end)
        curves.append(Curve(start, end, 0.0, bend, width, style.colour, style.dashes, title))
    return curves


def _correction_curves(atoms: Sequence[Atom], places: Sequence[Point]) -> list[Curve]:
    """A thin red line from each step that was false to the one that corrects it."""
    return [
        Curve(
            places[i], places[j], 0.0, _CORRECTION_BEND * math.dist(places[i], places[j]), 1.1, CONFLICT, (),
            f"Step {j + 1} corrects step {i + 1}",
        )
        for i, j in corrections(atoms)
    ]  # fmt: skip


def _mark(atom: Atom, index: int, place: Point, radius: float) -> Mark:
    state = state_of(atom)
    return Mark(*place, max(radius, 0.0 if state == "plain" else 3.6), state, index + 1, atom.inserted, atom.text)
