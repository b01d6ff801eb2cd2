"""Charts as SVG: values in, markup out.

Widths are percentages and heights pixels, and there is no viewBox around text: so a chart fills a phone and a
desktop alike and its letters keep their size. Colours come from the stylesheet, by the class of a series.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stillery.report.markup import count, escape, percent

BAR_HEIGHT = 14
# Bars end here, in percent of the width; the rest holds their numbers.
BAR_SPAN = 76.0
LINE_LEFT, LINE_SPAN = 8.0, 88.0
LINE_TOP, LINE_HEIGHT = 14, 220


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a share in 0..1 and its standard error. `style` is the series' class in the stylesheet."""

    style: str
    name: str
    share: float
    error: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a line, with the half height of its error bar."""

    x: float
    y: float
    error: float | None = None


@dataclass(frozen=True, slots=True)
class ChartSeries:
    """One line. `style` is its class in the stylesheet."""

    style: str
    name: str
    points: Sequence[Point]


def grouped_bars(groups: Sequence[tuple[str, Sequence[Bar]]], *, label: str) -> str:
    """Horizontal bars in named groups, with error bars, on an axis from 0 to 100%."""
    parts: list[str] = []
    top = 0
    for name, bars in groups:
        parts.append(f'<text x="0" y="{top + 14}" class="name">{escape(name)}</text>')
        top += 22
        bottom = top + len(bars) * (BAR_HEIGHT + 3)
        parts += [_rule(BAR_SPAN * tick / 4, top, bottom) for tick in range(5)]
        for bar in bars:
            parts.append(_bar(bar, top))
            top += BAR_HEIGHT + 3
        top += 14
    ticks = "".join(
        f'<text x="{BAR_SPAN * tick / 4}%" y="{top + 4}" class="tick" text-anchor="{anchor}">{25 * tick}%</text>'
        for tick, anchor in enumerate(["start", "middle", "middle", "middle", "middle"])
    )
    return _svg("".join(parts) + ticks, height=top + 10, label=label)


def count_bars(rows: Sequence[tuple[str, int]], *, label: str) -> str:
    """Horizontal bars of counts, the longest filling the axis."""
    most = max((number for _, number in rows), default=0) or 1
    parts: list[str] = []
    for index, (name, number) in enumerate(rows):
        top = 42 * index
        width = BAR_SPAN * number / most
        parts.append(
            f'<text x="0" y="{top + 13}" class="name">{escape(name)}</text>'
            f'<rect x="0" y="{top + 19}" width="{width:.2f}%" height="{BAR_HEIGHT}" class="plain"/>'
            f'<text x="100%" y="{top + 30}" class="number" text-anchor="end">{count(number)}</text>'
        )
    return _svg("".join(parts), height=42 * len(rows), label=label)


def funnel(stages: Sequence[tuple[str, int]], *, label: str) -> str:
    """Counts that shrink from stage to stage, each as wide as its share of the first and joined to the next."""
    first = stages[0][1] or 1
    parts: list[str] = []
    previous = 100.0
    for index, (name, number) in enumerate(stages):
        width = 100.0 * number / first
        top = 62 * index
        corners = [(50 - previous / 2, 0), (50 + previous / 2, 0), (50 + width / 2, 100), (50 - width / 2, 100)]
        if index:
            shape = " ".join(f"{x:.2f},{y}" for x, y in corners)
            parts.append(
                f'<svg x="0" y="{top}" width="100%" height="30" viewBox="0 0 100 100" preserveAspectRatio="none">'
                f'<polygon points="{shape}" class="link"/></svg>'
            )
        share = f", {percent(number / first)}" if index else ""
        parts.append(
            f'<rect x="{50 - width / 2:.2f}%" y="{top + 30}" width="{max(width, 0.3):.2f}%" height="32" class="stage"/>'
            f'<text x="50%" y="{top + 20}" class="name" text-anchor="middle">{escape(name)}: '
            f"{count(number)}{share}</text>"
        )
        previous = width
    return _svg("".join(parts), height=62 * len(stages) + 2, label=label)


def lines(series: Sequence[ChartSeries], *, label: str, x_name: str, shares: bool = False) -> str:
    """Lines over numbers. With `shares`, y lies in 0..1 on an axis to 100% and every point is marked.

    Marked series are set a few pixels apart, so that their error bars do not hide each other.
    """
    xs = sorted({point.x for one in series for point in one.points})
    ys = [point.y for one in series for point in one.points]
    x_low, x_high = (xs[0], xs[-1]) if len(xs) > 1 else (xs[0] - 1, xs[0] + 1)
    y_ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if shares else _ticks(min(ys), max(ys), 4)
    x_ticks = xs if len(xs) <= 12 else [tick for tick in _ticks(x_low, x_high, 5) if x_low <= tick <= x_high]
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        """Both coordinates as shares of the plot, y downwards."""
        return (x - x_low) / (x_high - x_low), (y_high - y) / (y_high - y_low)

    parts = [_y_tick(place(x_low, tick)[1], f"{100 * tick:.0f}%" if shares else f"{tick:g}") for tick in y_ticks]
    parts += [_x_tick(place(tick, y_low)[0], f"{tick:g}") for tick in x_ticks]
    for index, one in enumerate(series):
        places = [place(point.x, point.y) for point in one.points]
        marks = _marks(one, places, pixels_per_unit=LINE_HEIGHT / (y_high - y_low)) if shares else ""
        offset = 6 * index - 3 * (len(series) - 1) if shares else 0
        parts.append(
            f'<g class="{one.style}" transform="translate({offset},0)"><title>{escape(one.name)}</title>'
            f"{_stroke(places)}{marks}</g>"
        )
    bottom = LINE_TOP + LINE_HEIGHT
    middle = LINE_LEFT + LINE_SPAN / 2
    parts.append(f'<text x="{middle}%" y="{bottom + 38}" class="tick" text-anchor="middle">{escape(x_name)}</text>')
    return _svg("".join(parts), height=bottom + 46, label=label)


def _svg(body: str, *, height: int, label: str) -> str:
    return f'<svg role="img" aria-label="{escape(label)}" width="100%" height="{height}">{body}</svg>'


def _rule(x: float, top: int, bottom: int) -> str:
    return f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="{top - 2}" y2="{bottom}" class="rule"/>'


def _bar(bar: Bar, top: int) -> str:
    middle = top + BAR_HEIGHT / 2
    end = BAR_SPAN * bar.share
    number = percent(bar.share) + ("" if bar.error is None else f" ± {100 * bar.error:.1f}")
    body = (
        f'<rect x="0" y="{top}" width="{end:.2f}%" height="{BAR_HEIGHT}" class="fill {bar.style}"/>'
        f'<text x="100%" y="{top + 11}" class="number" text-anchor="end">{number}</text>'
    )
    if bar.error is not None:
        low = BAR_SPAN * max(bar.share - bar.error, 0)
        high = BAR_SPAN * min(bar.share + bar.error, 1)
        body += f'<line x1="{low:.2f}%" x2="{high:.2f}%" y1="{middle}" y2="{middle}" class="error"/>'
    return f"<g><title>{escape(bar.name)}: {number}</title>{body}</g>"


def _y_tick(share: float, text: str) -> str:
    y = LINE_TOP + LINE_HEIGHT * share
    return (
        f'<line x1="{LINE_LEFT}%" x2="100%" y1="{y:.1f}" y2="{y:.1f}" class="rule"/>'
        f'<text x="0" y="{y + 4:.1f}" class="tick">{escape(text)}</text>'
    )


def _x_tick(share: float, text: str) -> str:
    x = LINE_LEFT + LINE_SPAN * share
    return (
        f'<text x="{x:.2f}%" y="{LINE_TOP + LINE_HEIGHT + 18}" class="tick" text-anchor="middle">{escape(text)}</text>'
    )


def _stroke(places: Sequence[tuple[float, float]]) -> str:
    corners = " ".join(f"{1000 * x:.1f},{1000 * y:.1f}" for x, y in places)
    return (
        f'<svg x="{LINE_LEFT}%" y="{LINE_TOP}" width="{LINE_SPAN}%" height="{LINE_HEIGHT}" viewBox="0 0 1000 1000" '
        f'preserveAspectRatio="none" overflow="visible"><polyline points="{corners}" class="stroke"/></svg>'
    )


def _marks(series: ChartSeries, places: Sequence[tuple[float, float]], *, pixels_per_unit: float) -> str:
    body = ""
    for point, (x, y) in zip(series.points, places, strict=True):
        half = (point.error or 0.0) * pixels_per_unit
        body += (
            f'<svg x="{LINE_LEFT + LINE_SPAN * x:.2f}%" y="{LINE_TOP + LINE_HEIGHT * y:.1f}" overflow="visible">'
            f'<line x1="0" x2="0" y1="{-half:.1f}" y2="{half:.1f}" class="error"/>{_marker(series.style)}</svg>'
        )
    return body


def _marker(style: str) -> str:
    """Its own shape for each model, so that lines differ without colour."""
    if style == "before":
        return '<rect x="-4.5" y="-4.5" width="9" height="9" class="mark"/>'
    if style == "tuned":
        return '<path d="M0,-6L6,0L0,6L-6,0Z" class="mark"/>'
    if style == "teacher":
        return '<path d="M0,-6.5L6,4.5L-6,4.5Z" class="mark"/>'
    return '<circle r="5" class="mark"/>'


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers that cover low..high, about `wanted` intervals of 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= wanted)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(tick * step, 12) for tick in range(first, max(last, first + 1) + 1)]
