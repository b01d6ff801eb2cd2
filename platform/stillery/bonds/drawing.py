"""A molecule as a picture for a paper: an arc diagram as SVG or PNG, on white.

A bond's kind is told by colour and by dashes, its strength by the width of its line. A step whose false claim nothing
corrects is filled red; one that is corrected has a red ring and a red line to the step that corrects it; a step that
reinforcement inserted is a square. Both formats draw the same layout.
"""

import html

from stillery.bonds.drawing_layout import (
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
    Arc,
    Layout,
    Mark,
    layout,
)
from stillery.records import Molecule


def to_svg(molecule: Molecule, *, title: str = "") -> str:
    """The drawing as an SVG document. Texts of the trace are escaped. Raises ValueError where there are no atoms."""
    made = layout(molecule, title=title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{made.width:g}" height="{made.height:g}" '
        f'viewBox="0 0 {made.width:g} {made.height:g}" font-family="Helvetica, Arial, sans-serif" role="img">',
        f"<title>{_escape(title or molecule.sample_id)}</title>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        _text(MARGIN, 26, made.heading, size=15, extra='font-weight="bold"'),
        _text(MARGIN, 46, made.summary, size=11, fill=QUIET),
        *_svg_legend(made),
        f'<path d="M{MARGIN:g} {made.baseline:.1f}H{made.width - MARGIN:g}" stroke="{RULE}"/>',
        *(part for x, number in made.ticks for part in _svg_tick(x, number, made)),
        *(_svg_arc(arc, made.baseline) for arc in made.arcs),
        *(_svg_mark(mark, made.baseline) for mark in made.marks_in_order()),
    ]
    for quote in made.quotes:
        fill = INK if quote.state == "plain" else CONFLICT
        parts.append(_text(quote.x + 16, quote.y, str(quote.number), size=10, fill=QUIET, anchor="end"))
        parts.append(_text(quote.x + 22, quote.y, quote.text, size=10, fill=fill))
    return "\n".join([*parts, "</svg>\n"])


def to_png(molecule: Molecule, *, title: str = "", scale: float = 2.0) -> bytes:
    """The drawing as a PNG, `scale` pixels to a unit. Raises ValueError where there are no atoms."""
    from stillery.bonds.drawing_png import paint

    return paint(layout(molecule, title=title), scale=scale)


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


def _svg_arc(arc: Arc, baseline: float) -> str:
    radius = (arc.right - arc.left) / 2
    sweep = 1 if arc.rise > 0 else 0
    return (
        f'<path d="M{arc.left:.1f} {baseline:.1f}A{radius:.2f} {abs(arc.rise):.2f} 0 0 {sweep} {arc.right:.1f} '
        f'{baseline:.1f}" fill="none" stroke="{arc.colour}" stroke-opacity="0.8" stroke-width="{arc.width:.2f}"'
        f"{_dashes(arc.width, arc.dashes)}><title>{_escape(arc.title)}</title></path>"
    )


def _svg_mark(mark: Mark, baseline: float) -> str:
    fill = FILLS[mark.state] if mark.radius > DOT_RADIUS else STROKES[mark.state]
    look = f'fill="{fill}" stroke="{STROKES[mark.state]}" stroke-width="{min(1.3, mark.radius / 2):.2f}"'
    x, r = mark.x, mark.radius
    shape = (
        f'<rect x="{x - r:.1f}" y="{baseline - r:.1f}" width="{2 * r:.1f}" height="{2 * r:.1f}" {look}/>'
        if mark.inserted
        else f'<circle cx="{x:.1f}" cy="{baseline:.1f}" r="{r:.1f}" {look}/>'
    )
    number = ""
    if r >= NUMBERED_RADIUS:
        ink = PAPER if mark.state == "false" else INK
        number = _text(x, baseline + 3.4, str(mark.number), size=9.5, fill=ink, anchor="middle")
    return f"<g><title>{_escape(f'{mark.number}: {mark.text}')}</title>{shape}{number}</g>"


def _svg_tick(x: float, number: int, made: Layout) -> list[str]:
    guide = f'<path d="M{x:.1f} {made.baseline:.1f}V{made.tick_y - 12:.1f}" stroke="{GUIDE}"/>'
    return [guide, _text(x, made.tick_y, str(number), size=10, fill=QUIET, anchor="middle")]
