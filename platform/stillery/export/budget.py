"""The best artifact within a budget, and a plot of size against accuracy and speed."""

from collections.abc import Sequence
from html import escape

from stillery.export.artifact import ArtifactOutcome

_WIDTH, _HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 150, 40, 50
_COLOURS = {"gguf": "#1b6ca8", "onnx": "#c0582b", "executorch": "#3c8d40", "litert": "#7d4ea8", "vllm": "#8a6d1d"}


def choose(
    outcomes: Sequence[ArtifactOutcome], *, max_size_mb: float | None = None, max_accuracy_drop: float | None = None
) -> ArtifactOutcome | None:
    """The kept artifact to ship within the budget; None if there is none.

    Among those that are small enough (1 MB is 10^6 bytes) and whose measured accuracy dropped no further, the
    smallest accuracy drop wins, then the higher decoding speed, then the smaller file. More right answers than the
    checkpoint's are chance, and count as no drop.
    """
    fitting = [
        (max(o.parity.accuracy_drop.mean, 0.0), -o.speed.decode_tokens_per_second, o.size_bytes, o)
        for o in outcomes
        if o.folder is not None and o.parity is not None and o.speed is not None
        if max_size_mb is None or o.size_bytes <= max_size_mb * 1e6
        if max_accuracy_drop is None or o.parity.accuracy_drop.mean <= max_accuracy_drop
    ]
    return min(fitting, key=lambda entry: entry[:3])[3] if fitting else None


def why_none(outcomes: Sequence[ArtifactOutcome], *, max_size_mb: float | None, max_accuracy_drop: float | None) -> str:
    """What stands nearest to a budget that nothing fits, in one line."""
    kept = [o for o in outcomes if o.folder is not None and o.parity is not None]
    if not kept:
        return "no artifact passed the gate"
    smallest = min(kept, key=lambda o: o.size_bytes)
    best = min(kept, key=lambda o: o.parity.accuracy_drop.mean if o.parity else 0.0)
    assert best.parity is not None
    wanted = [f"{max_size_mb:g} MB"] if max_size_mb is not None else []
    wanted += [f"an accuracy drop of {max_accuracy_drop:g}"] if max_accuracy_drop is not None else []
    return (
        f"nothing fits {' and '.join(wanted)}: the smallest is {smallest.format} {smallest.quantization} with "
        f"{smallest.size_bytes / 1e6:.2f} MB, the least drop {best.parity.accuracy_drop.mean:.3f} "
        f"({best.format} {best.quantization})"
    )


def plot(outcomes: Sequence[ArtifactOutcome]) -> str:
    """Size against accuracy as SVG; the area of a point is its decoding speed, its bar one standard error."""
    shown = [(o, o.parity, o.speed) for o in outcomes if o.parity is not None and o.speed is not None]
    if not shown:
        return _svg("", "no artifact ran")
    largest = max(o.size_bytes for o, _, _ in shown) * 1.1
    lows = [p.accuracy.mean - (p.accuracy.standard_error or 0) for _, p, _ in shown]
    highs = [p.accuracy.mean + (p.accuracy.standard_error or 0) for _, p, _ in shown]
    reference = shown[0][1].reference_accuracy.mean
    low, high = min([*lows, reference]) - 0.02, max([*highs, reference]) + 0.02
    fastest = max(s.decode_tokens_per_second for _, _, s in shown)

    def x(size_bytes: float) -> float:
        return _LEFT + size_bytes / largest * (_WIDTH - _LEFT - _RIGHT)

    def y(accuracy: float) -> float:
        return _TOP + (high - accuracy) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_axes(largest, low, high), _legend(list(dict.fromkeys(o.format for o, _, _ in shown)))]
    parts.append(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(reference):.1f}" y2="{y(reference):.1f}" '
        'stroke="#888" stroke-dasharray="4 3"/>'
        f'<text x="{_WIDTH - _RIGHT + 4}" y="{y(reference) + 4:.1f}">checkpoint</text>'
    )
    for outcome, parity, speed in shown:
        error = parity.accuracy.standard_error or 0.0
        cx, cy = x(outcome.size_bytes), y(parity.accuracy.mean)
        radius = 3 + 7 * (speed.decode_tokens_per_second / fastest) ** 0.5
        colour = _COLOURS.get(outcome.format, "#555")
        fill = colour if outcome.folder is not None else "none"
        label = f"{outcome.format} {outcome.quantization}" + ("" if outcome.folder is not None else " (refused)")
        title = (
            f"{label}: {outcome.size_bytes / 1e6:.2f} MB, accuracy {parity.accuracy.mean:.3f} ± {error:.3f}, "
            f"{speed.decode_tokens_per_second:.0f} tokens/s"
        )
        parts.append(
            f"<g><title>{escape(title)}</title>"
            f'<line x1="{cx:.1f}" x2="{cx:.1f}" y1="{y(parity.accuracy.mean - error):.1f}" '
            f'y2="{y(parity.accuracy.mean + error):.1f}" stroke="{colour}"/>'
            f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{radius:.1f}" fill="{fill}" stroke="{colour}" fill-opacity="0.6"/>'
            f'<text x="{cx + radius + 3:.1f}" y="{cy - 4:.1f}">{escape(outcome.quantization)}</text></g>'
        )
    return _svg("".join(parts), "Size against accuracy of the exported artifacts")


def _axes(largest: float, low: float, high: float) -> str:
    parts = [
        f'<path d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}" fill="none" stroke="#333"/>',
        f'<text x="{_LEFT}" y="{_TOP - 14}">accuracy; large points decode fast, hollow ones were refused</text>',
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">size, MB</text>',
    ]
    for step in range(5):
        px = _LEFT + step / 4 * (_WIDTH - _LEFT - _RIGHT)
        py = _TOP + step / 4 * (_HEIGHT - _TOP - _BOTTOM)
        size, accuracy = largest * step / 4 / 1e6, high - (high - low) * step / 4
        tick = f"{size:.2f}" if largest < 1e7 else f"{size:.0f}"
        parts.append(f'<text x="{px:.0f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{tick}</text>')
        parts.append(f'<text x="{_LEFT - 6}" y="{py + 4:.0f}" text-anchor="end">{accuracy:.2f}</text>')
    return "".join(parts)


def _legend(formats: Sequence[str]) -> str:
    """The formats' colours, in the lower right."""
    parts: list[str] = []
    for row, name in enumerate(formats):
        y = _HEIGHT - _BOTTOM - 16 * (len(formats) - row)
        parts.append(f'<rect x="{_WIDTH - 90}" y="{y}" width="9" height="9" fill="{_COLOURS.get(name, "#555")}"/>')
        parts.append(f'<text x="{_WIDTH - 76}" y="{y + 9}">{escape(name)}</text>')
    return "".join(parts)


def _svg(body: str, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="#fff"/>{body}</svg>\n'
    )
