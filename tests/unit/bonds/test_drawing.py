import io
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from stillery.bonds.draw.arcs import arc_layout
from stillery.bonds.draw.drawing import LAYOUTS, to_png, to_svg
from stillery.bonds.draw.force import force_layout, force_positions
from stillery.bonds.draw.layout import CONFLICT, STYLES, Layout, state_of
from stillery.records import Atom, Bond, BondKind, Claim, Molecule

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script><a href=\"javascript:1\" onload='x'>&\x00\x1b\ud800￾ $\\frac{1}{2}$"


def atom(text: str = "a step", *, claims: Sequence[Claim] = (), inserted: bool = False) -> Atom:
    return Atom(0, len(text), text, "line", list(claims), inserted)


def false_claim(*, corrected_by: int | None) -> Claim:
    return Claim(0, 5, "1 + 1 = 3", "arithmetic", False, corrected_by)


def molecule(atoms: Sequence[Atom], bonds: Sequence[tuple[int, int, BondKind, float]] = ()) -> Molecule:
    made = [Bond(s, t, kind, strength, "claims", "uses 7") for s, t, kind, strength in bonds]
    return Molecule("sample", list(atoms), made, 1.0, 0.5, 2.5, [])


def small() -> Molecule:
    """Five steps; the second is false and corrected by the third, the fourth is false and stays so."""
    atoms = [
        atom("Tom has 12"),
        atom("12 + 1 = 14", claims=[false_claim(corrected_by=2)]),
        atom("no: 13"),
        atom("13 + 1 = 15", claims=[false_claim(corrected_by=None)]),
        atom("inserted check", inserted=True),
    ]
    logic, check, idea = BondKind
    return molecule(atoms, [(0, 1, logic, 0.95), (1, 2, check, 0.7), (2, 3, logic, 0.8), (0, 4, idea, 0.35)])


def shapes(svg: str, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(SVG + tag))


def test_every_bond_is_an_arc_in_the_colour_of_its_kind_on_its_side() -> None:
    arcs = {
        p.findtext(f"{SVG}title", "")[:5]: p
        for p in shapes(to_svg(small()), "path")
        if p.find(f"{SVG}title") is not None
    }
    expected = {"1 → 2": BondKind.STRONG_LOGIC, "2 → 3": BondKind.REFLECTION, "1 → 5": BondKind.EXPLORATION}
    for name, kind in expected.items():
        assert arcs[name].get("stroke") == STYLES[kind].colour
        assert (arcs[name].get("stroke-dasharray") is None) == (kind == BondKind.STRONG_LOGIC)
        # The sweep flag of the arc: 1 bends it above the line.
        assert (" 0 0 1 " in arcs[name].get("d", "")) == STYLES[kind].above
    assert float(arcs["1 → 2"].get("stroke-width", 0)) > float(arcs["3 → 4"].get("stroke-width", 0))
    assert "uses 7" in arcs["1 → 2"].findtext(f"{SVG}title", "")


def test_conflicts_are_red_and_corrections_are_drawn() -> None:
    svg = to_svg(small())
    marks = {g.findtext(f"{SVG}text"): g.find(f"{SVG}circle") for g in shapes(svg, "g")}
    # Those that warn are drawn last, on top.
    assert list(marks) == ["1", "3", "5", "2", "4"]
    looks = {name: None if mark is None else (mark.get("fill"), mark.get("stroke")) for name, mark in marks.items()}
    assert looks["2"] == ("#ffffff", CONFLICT)
    assert looks["4"] == (CONFLICT, CONFLICT)
    assert looks["1"] == ("#ffffff", "#1c1e21")
    # The inserted step is a square.
    assert looks["5"] is None
    assert "Step 3 corrects step 2" in svg


def test_state_is_false_if_any_false_claim_stands() -> None:
    assert state_of(atom(claims=[false_claim(corrected_by=2), false_claim(corrected_by=None)])) == "false"
    assert state_of(atom(claims=[false_claim(corrected_by=2)])) == "corrected"
    assert state_of(atom(claims=[Claim(0, 1, "x", "algebraic", None, None)])) == "plain"


def test_texts_of_the_trace_stay_texts() -> None:
    made = molecule([atom(HOSTILE), atom(HOSTILE)], [(0, 1, BondKind.STRONG_LOGIC, 0.9)])
    made.bonds[0] = Bond(0, 1, BondKind.STRONG_LOGIC, 0.9, "claims", HOSTILE)
    root = ET.fromstring(to_svg(made, title=HOSTILE))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg",
        "title",
        "rect",
        "text",
        "path",
        "circle",
        "g",
    }
    assert not any("on" in name[:2] or name == "href" for element in root.iter() for name in element.attrib)
    assert any("<script>alert(1)</script>" in (element.text or "") for element in root.iter(f"{SVG}title"))


@pytest.mark.parametrize("count", [1, 2, 24, 25, 400, 3000])
def test_everything_lies_on_the_page_at_any_length(count: int) -> None:
    far = [(0, count - 1, BondKind.STRONG_LOGIC, 0.9), (0, count - 1, BondKind.EXPLORATION, 0.4)]
    made = arc_layout(molecule([atom() for _ in range(count)], far if count > 1 else []), title="A title")
    assert_on_page(made)
    lowest = max([quote.y for quote in made.quotes] + [tick.y for tick in made.ticks])
    assert all(70 < arc.start[1] - arc.rise < lowest for arc in made.curves)
    # Neighbouring marks do not cover each other, unless they warn.
    assert count == 1 or 2 * made.marks[0].radius <= max(made.marks[1].x - made.marks[0].x, 1.0)


def assert_on_page(made: Layout) -> None:
    assert all(mark.radius <= mark.x <= made.width - mark.radius for mark in made.marks)
    assert all(mark.y - mark.radius > 70 and mark.y + mark.radius < made.height for mark in made.marks)
    assert all(quote.y < made.height for quote in made.quotes)
    assert all(tick.y < made.height < 800 for tick in made.ticks)
    assert bool(made.quotes) != bool(made.ticks)
    assert len(made.ticks) <= 16


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LAYOUTS))
def test_a_conflict_is_seen_among_thousands_of_steps(name: str) -> None:
    atoms = [atom() for _ in range(3000)]
    atoms[1234] = atom(claims=[false_claim(corrected_by=None)])
    assert LAYOUTS[name](molecule(atoms)).marks[1234].radius > 3


def chain(count: int) -> Molecule:
    """Steps that each use the one before, and every seventh checks the one four steps back."""
    bonds = [(i, i + 1, BondKind.STRONG_LOGIC, 0.9) for i in range(count - 1)]
    bonds += [(i - 4, i, BondKind.REFLECTION, 0.7) for i in range(7, count, 7)]
    return molecule([atom() for _ in range(count)], bonds)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 15, 24, 400])
def test_the_graph_lies_on_the_page_and_its_steps_apart(count: int) -> None:
    made = force_layout(chain(count), title="A title")
    assert_on_page(made) if count <= 24 or made.ticks else pytest.fail("no step is numbered")
    apart = [
        np.hypot(one.x - two.x, one.y - two.y) - one.radius - two.radius
        for i, one in enumerate(made.marks)
        for two in made.marks[:i]
    ]
    assert sum(gap < 0 for gap in apart) <= 0.02 * count


def test_the_graph_is_the_same_every_time() -> None:
    assert to_svg(chain(60), layout="force") == to_svg(chain(60), layout="force")


def test_bonded_steps_lie_near_each_other_and_the_trace_runs_to_the_right() -> None:
    # Two parts of forty steps, joined by the trail alone.
    bonds = [(i, i + 1, BondKind.STRONG_LOGIC, 0.9) for i in range(79) if i != 39]
    bonds += [(i, i + 5, BondKind.STRONG_LOGIC, 0.9) for i in range(75) if i not in range(35, 40)]
    places = np.array(force_positions(molecule([atom() for _ in range(80)], bonds)))
    bonded = np.mean([np.linalg.norm(places[s] - places[t]) for s, t, *_ in bonds])
    every = np.mean([np.linalg.norm(one - two) for one in places for two in places])
    assert bonded < every / 2
    assert places[:20, 0].mean() < places[-20:, 0].mean()


@pytest.mark.slow
def test_the_graph_draws_each_bond_and_correction() -> None:
    svg = to_svg(small(), layout="force")
    titles = [p.findtext(f"{SVG}title", "") for p in shapes(svg, "path") if p.find(f"{SVG}title") is not None]
    assert len(titles) == 5
    assert sum("corrects" in title for title in titles) == 1
    assert to_png(small(), layout="force").startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_png_shows_the_same_picture() -> None:
    made = arc_layout(small(), title="Title")
    image = Image.open(io.BytesIO(to_png(small(), title="Title", scale=2))).convert("RGB")
    assert image.size == (2 * made.width, 2 * made.height)
    pixels = np.asarray(image).astype(int)

    def near(x: float, y: float, colour: str) -> bool:
        """Whether the colour, blended with the paper as an arc is, is met within 3 units of the point."""
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        wanted = (0.8 * wanted + 0.2 * 255).round()
        box = pixels[int(2 * y) - 6 : int(2 * y) + 7, int(2 * x) - 6 : int(2 * x) + 7].reshape(-1, 3)
        return bool((np.abs(box - wanted).max(axis=1) <= 40).any())

    for arc in made.curves:
        tops = [(arc.start[0] + arc.end[0]) / 2 + dx for dx in (-5, 0, 5)]
        assert any(near(x, arc.start[1] - arc.rise, arc.colour) for x in tops), arc.title
    red = made.marks[3]
    assert tuple(pixels[int(2 * red.y), int(2 * (red.x - 7))]) == (0xC0, 0x1F, 0x1F)


def test_a_png_takes_any_text() -> None:
    assert to_png(molecule([atom("小明有 $12 个苹果 \\frac{1} $ {"), atom("x")]), title="$x_$").startswith(b"\x89PNG")


def test_a_molecule_without_atoms_is_refused() -> None:
    with pytest.raises(ValueError, match="no atoms"):
        to_svg(molecule([]))
