"""The layout of a molecule as a PNG, drawn by matplotlib.

Its figure is used without pyplot and its settings within a context, so no global state changes.
"""

import io
import warnings
from typing import Any

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
)

# Tried glyph by glyph in this order, where installed; Chinese needs one of the last.
_FONTS = ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei"]
# A unit of the layout is 1/96 inch; matplotlib's lines and letters are in points.
_POINTS = 0.75


def render_png(layout: Layout, *, scale: float) -> bytes:
    """The PNG of a layout, `scale` pixels per unit."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    # parse_math: a dollar sign in a trace is text.
    with mpl.rc_context({"font.family": [f for f in _FONTS if f in installed], "text.parse_math": False}):
        figure = Figure(figsize=(layout.width / 96, layout.height / 96), dpi=96 * scale, facecolor=PAPER)
        axes: Any = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
        axes.axis("off")
        _header(axes, layout)
        axes.plot(*zip(*layout.trail, strict=True), color=RULE, linewidth=_POINTS, zorder=1)
        for curve in layout.curves:
            _curve(axes, curve)
        for mark in layout.marks_in_order():
            _mark(axes, mark)
        _captions(axes, layout)
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            # Matplotlib warns about each letter that no font has; it draws a box, which is clear enough.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _write(axes: Any, x: float, y: float, text: str, *, size: float, **look: Any) -> None:
    axes.text(x, y, text, fontsize=_POINTS * size, **{"color": INK, "va": "baseline", "zorder": 4, **look})


def _header(axes: Any, layout: Layout) -> None:
    from matplotlib.patches import Circle

    _write(axes, MARGIN, 26, layout.heading, size=15, weight="bold")
    _write(axes, MARGIN, 46, layout.summary, size=11, color=QUIET)
    for index, (name, style) in enumerate(layout.legend):
        x = MARGIN + index * LEGEND_STEP
        look = {"color": style.colour, "linewidth": 2.4 * _POINTS, "linestyle": _linestyle(style.dashes)}
        axes.plot([x, x + 26], [LEGEND_Y - 4] * 2, **look)
        _write(axes, x + 32, LEGEND_Y, name, size=11)
    x = MARGIN + len(layout.legend) * LEGEND_STEP + 8
    axes.add_patch(Circle((x, LEGEND_Y - 4), 5, color=CONFLICT))
    _write(axes, x + 12, LEGEND_Y, CONFLICT_NAME, size=11)


def _curve(axes: Any, curve: Curve) -> None:
    from matplotlib.patches import Arc, PathPatch
    from matplotlib.path import Path

    look: dict[str, Any] = {"linewidth": _POINTS * curve.width, "linestyle": _linestyle(curve.dashes)}
    look |= {"alpha": 0.8, "zorder": 2}
    if curve.rise:
        (x1, y1), (x2, _) = curve.start, curve.end
        # Angles grow towards larger y, which is down the page.
        start = 180 if curve.rise > 0 else 0
        size = {"width": x2 - x1, "height": 2 * abs(curve.rise), "theta1": start, "theta2": start + 180}
        axes.add_patch(Arc(((x1 + x2) / 2, y1), color=curve.colour, **size, **look))
        return
    way = Path([curve.start, curve.control(), curve.end], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
    axes.add_patch(PathPatch(way, facecolor="none", edgecolor=curve.colour, capstyle="butt", **look))


def _linestyle(dashes: tuple[float, ...]) -> Any:
    return (0, dashes) if dashes else "-"


def _mark(axes: Any, mark: Mark) -> None:
    from matplotlib.patches import Circle, Rectangle

    x, y, r = mark.x, mark.y, mark.radius
    fill = FILLS[mark.state] if r > DOT_RADIUS else STROKES[mark.state]
    width = _POINTS * min(1.3, r / 2)
    shape = Rectangle((x - r, y - r), 2 * r, 2 * r) if mark.inserted else Circle((x, y), r)
    shape.set(facecolor=fill, edgecolor=STROKES[mark.state], linewidth=width, zorder=3)
    axes.add_patch(shape)
    if r >= NUMBERED_RADIUS:
        ink = PAPER if mark.state == "false" else INK
        _write(axes, x, y + 3.4, str(mark.number), size=9.5, color=ink, ha="center")


def _captions(axes: Any, layout: Layout) -> None:
    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=3 * _POINTS, foreground=PAPER)]
    for tick in layout.ticks:
        if tick.guide is not None:
            x, y = tick.guide
            axes.plot([x, x], [y, tick.y - 12], color=GUIDE, linewidth=_POINTS, zorder=0)
        _write(axes, tick.x, tick.y, str(tick.number), size=10, color=QUIET, ha="center", path_effects=rim)
    for quote in layout.quotes:
        _write(axes, quote.x + 16, quote.y, str(quote.number), size=10, color=QUIET, ha="right")
        _write(axes, quote.x + 22, quote.y, quote.text, size=10, color=INK if quote.state == "plain" else CONFLICT)
