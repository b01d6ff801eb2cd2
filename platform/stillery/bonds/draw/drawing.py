"""A molecule as a picture for a paper: arcs over a line, or a graph laid out by forces; SVG or PNG, on white.

A bond's kind is told by colour and by dashes, its strength by the width of its line. A step whose false claim nothing
corrects is filled red; one that is corrected has a red ring and a red line to the step that corrects it; a step that
reinforcement inserted is a square. Both formats draw the same curves and marks.
"""

import html
from collections.abc import Callable

from stillery.bonds.draw.arcs import arc_layout
from stillery.bonds.draw.force import force_layout
from stillery.bonds.draw.layout import (
    CONFLICT,
    CONFLICT_NAME,
    DOT_RADIUS,
    FILLS,
    GUIDE,
    INK,
    LEGEND_STEP,
    LEGEND_Y,
    MARGIN,
    NUMBERED_RADIUS,
    PAPER,
    QUIET,
    RULE,
    STROKES,
    Curve,
    Layout,
    Mark,
    Tick,
)
from stillery.records import Molecule

# A rim of paper, so that a number is read over lines.
_HALO = f'stroke="{PAPER}" stroke-width="3" paint-order="stroke"'

LAYOUTS: dict[str, Callable[..., Layout]] = {"arcs": arc_layout, "force": force_layout}


def to_svg(molecule: Molecule, *, title: str = "", layout: str = "arcs") -> str:
    """The drawing as an SVG document, laid out by one of LAYOUTS. Texts of the trace are escaped. Raises ValueError
    where there are no atoms."""
    made = LAYOUTS[layout](molecule, title=title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{made.width:g}" height="{made.height:g}" '
        f'viewBox="0 0 {made.width:g} {made.height:g}" font-family="Helvetica, Arial, sans-serif" role="img">',
        f"<title>{_escape(title or molecule.sample_id)}</title>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        _text(MARGIN, 26, made.heading, size=15, extra='font-weight="bold"'),
        _text(MARGIN, 46, made.summary, size=11, fill=QUIET),
        *_svg_legend(made),
        f'<path d="M{" ".join(f"{x:.1f},{y:.1f}" for x, y in made.trail)}" fill="none" stroke="{RULE}"/>',
        *(part for tick in made.ticks for part in _svg_guide(tick)),
        *(_svg_curve(curve) for curve in made.curves),
        *(_svg_mark(mark) for mark in made.marks_in_order()),
        *(_text(t.x, t.y, str(t.number), size=10, fill=QUIET, anchor="middle", extra=_HALO) for t in made.ticks),
    ]
    for quote in made.quotes:
        fill = INK if quote.state == "plain" else CONFLICT
        parts.append(_text(quote.x + 16, quote.y, str(quote.number), size=10, fill=QUIET, anchor="end"))
        parts.append(_text(quote.x + 22, quote.y, quote.text, size=10, fill=fill))
    return "\n".join([*parts, "</svg>\n"])


def to_png(molecule: Molecule, *, title: str = "", scale: float = 2.0, layout: str = "arcs") -> bytes:
    """The drawing as a PNG, `scale` pixels to a unit. Raises ValueError where there are no atoms."""
    from stillery.bonds.draw.png import paint

    return paint(LAYOUTS[layout](molecule, title=title), scale=scale)


def _escape(text: str) -> str:
    """Safe in SVG, also from the characters that XML does not allow at all."""
    allowed = (
        c if c >= " " and not 0xD800 <= ord(c) <= 0xDFFF and ord(c) not in (0xFFFE, 0xFFFF) else " " for c in text
    )
    return html.escape("".join(allowed), quote=True)


def _text(
    x: float, y: float, text: str, *, size: float, fill: str = INK, anchor: str = "start", extra: str = ""
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}" text-anchor="{anchor}" {extra}>'
        f"{_escape(text)}</text>"
    )


def _dashes(width: float, dashes: tuple[float, ...]) -> str:
    lengths = " ".join(f"{max(width, 1.0) * part:.2f}" for part in dashes)
    return f' stroke-dasharray="{lengths}"' if dashes else ""


def _svg_legend(made: Layout) -> list[str]:
    parts: list[str] = []
    for index, (name, style) in enumerate(made.legend):
        x = MARGIN + index * LEGEND_STEP
        line = f'stroke="{style.colour}" stroke-width="2.4"{_dashes(2.4, style.dashes)}'
        parts.append(f'<path d="M{x:g} {LEGEND_Y - 4:g}h26" {line}/>')
        parts.append(_text(x + 32, LEGEND_Y, name, size=11))
    x = MARGIN + len(made.legend) * LEGEND_STEP + 8
    parts.append(f'<circle cx="{x:g}" cy="{LEGEND_Y - 4:g}" r="5" fill="{CONFLICT}"/>')
    return [*parts, _text(x + 12, LEGEND_Y, CONFLICT_NAME, size=11)]


def _svg_curve(curve: Curve) -> str:
    (x1, y1), (x2, y2) = curve.start, curve.end
    way = f"L{x2:.1f} {y2:.1f}"
    if curve.rise:
        way = f"A{(x2 - x1) / 2:.2f} {abs(curve.rise):.2f} 0 0 {int(curve.rise > 0)} {x2:.1f} {y2:.1f}"
    elif curve.bend:
        cx, cy = curve.control()
        way = f"Q{cx:.1f} {cy:.1f} {x2:.1f} {y2:.1f}"
    return (
        f'<path d="M{x1:.1f} {y1:.1f}{way}" fill="none" stroke="{curve.colour}" stroke-opacity="0.8" '
        f'stroke-width="{curve.width:.2f}"{_dashes(curve.width, curve.dashes)}>'
        f"<title>{_escape(curve.title)}</title></path>"
    )


def _svg_mark(mark: Mark) -> str:
    fill = FILLS[mark.state] if mark.radius > DOT_RADIUS else STROKES[mark.state]
    look = f'fill="{fill}" stroke="{STROKES[mark.state]}" stroke-width="{min(1.3, mark.radius / 2):.2f}"'
    x, y, r = mark.x, mark.y, mark.radius
    shape = (
        f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r:.1f}" height="{2 * r:.1f}" {look}/>'
        if mark.inserted
        else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" {look}/>'
    )
    number = ""
    if r >= NUMBERED_RADIUS:
        ink = PAPER if mark.state == "false" else INK
        number = _text(x, y + 3.4, str(mark.number), size=9.5, fill=ink, anchor="middle")
    return f"<g><title>{_escape(f'{mark.number}: {mark.text}')}</title>{shape}{number}</g>"


def _svg_guide(tick: Tick) -> list[str]:
    if tick.guide is None:
        return []
    x, y = tick.guide
    return [f'<path d="M{x:.1f} {y:.1f}V{tick.y - 12:.1f}" stroke="{GUIDE}"/>']
