"""A molecule as a figure for a paper: arcs over a line, or a force-directed graph; SVG or PNG, on white.

Colour and dashes show a bond's kind, line width its strength. A step with an uncorrected false claim is filled red; one
that is corrected has a red ring and a red line to the step that corrects it; a step that reinforcement inserted is a
square. Both formats draw the same curves and marks.
"""

from collections.abc import Callable

from stillery.bonds.draw import layout as look
from stillery.bonds.draw.arcs import arc_layout
from stillery.bonds.draw.force import force_layout
from stillery.bonds.draw.layout import Curve, Layout
from stillery.records import Molecule
from stillery.templating import make_environment

LAYOUTS: dict[str, Callable[..., Layout]] = {"arcs": arc_layout, "force": force_layout}


def to_svg(molecule: Molecule, *, title: str = "", layout: str = "arcs") -> str:
    """The drawing as an SVG document, laid out by one of LAYOUTS. The trace's texts are escaped. Raises ValueError
    where there are no atoms."""
    template = make_environment("stillery.bonds.draw", path=_path).get_template("drawing.svg")
    made = LAYOUTS[layout](molecule, title=title)
    return template.render(made=made, look=look, title=title or molecule.sample_id)


def to_png(molecule: Molecule, *, title: str = "", scale: float = 2.0, layout: str = "arcs") -> bytes:
    """The drawing as a PNG, `scale` pixels per unit. Raises ValueError where there are no atoms."""
    from stillery.bonds.draw.png import render_png

    return render_png(LAYOUTS[layout](molecule, title=title), scale=scale)


def _path(curve: Curve) -> str:
    (x1, y1), (x2, y2) = curve.start, curve.end
    way = f"L{x2:.1f} {y2:.1f}"
    if curve.rise:
        way = f"A{(x2 - x1) / 2:.2f} {abs(curve.rise):.2f} 0 0 {int(curve.rise > 0)} {x2:.1f} {y2:.1f}"
    elif curve.bend:
        cx, cy = curve.control()
        way = f"Q{cx:.1f} {cy:.1f} {x2:.1f} {y2:.1f}"
    return f"M{x1:.1f} {y1:.1f}{way}"
