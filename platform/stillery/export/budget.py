"""The best artifact within a budget, and a plot of size against accuracy and speed."""

import io
from collections.abc import Sequence
from typing import Any

from stillery.export.artifact import ArtifactOutcome

_TITLE = "Size against accuracy of the exported artifacts"
_COLOURS = {"gguf": "#1b6ca8", "onnx": "#c0582b", "executorch": "#3c8d40", "litert": "#7d4ea8", "vllm": "#8a6d1d"}


def choose(
    outcomes: Sequence[ArtifactOutcome], *, max_size_mb: float | None = None, max_accuracy_drop: float | None = None
) -> ArtifactOutcome | None:
    """The kept artifact to ship within the budget; None if there is none.

    Among those that are small enough (1 MB is 10^6 bytes) and whose measured accuracy drop is within the limit, the
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
    """The candidate closest to a budget that none meets, in one line."""
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
    """Size against accuracy as SVG. Larger points decode faster, hollow ones were refused, bars are standard errors."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown = [(o, o.parity, o.speed) for o in outcomes if o.parity is not None and o.speed is not None]
    fastest = max((speed.decode_tokens_per_second for _, _, speed in shown), default=1.0)
    drawn = io.StringIO()
    # Text stays text in the SVG, and the same outcomes make the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": _TITLE, "font.size": 8, "font.family": "sans-serif"}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        axes: Any = figure.subplots()
        axes.set(title="large points decode fast, hollow ones were refused", xlabel="size, MB", ylabel="accuracy")
        axes.spines[["top", "right"]].set_visible(False)
        for _, parity, _ in shown[:1]:
            axes.axhline(parity.reference_accuracy.mean, color="#888", linestyle="--", linewidth=1, label="checkpoint")
        for outcome, parity, speed in shown:
            size, accuracy, rate = outcome.size_bytes / 1e6, parity.accuracy, speed.decode_tokens_per_second
            name = f"{outcome.format} {outcome.quantization}" + ("" if outcome.folder is not None else " (refused)")
            error = accuracy.standard_error or 0.0
            axes.errorbar(
                size, accuracy.mean, yerr=error, fmt="o", color=_COLOURS.get(outcome.format, "#555"), elinewidth=1,
                markersize=4 + 10 * (rate / fastest) ** 0.5, fillstyle="none" if outcome.folder is None else "full",
                alpha=0.7,
                label=f"{name}: {size:.2f} MB, accuracy {accuracy.mean:.3f} ± {error:.3f}, {rate:.0f} tokens/s",
            )  # fmt: skip
            axes.annotate(outcome.quantization, (size, accuracy.mean), xytext=(8, 3), textcoords="offset points")
        axes.set_xlim(left=0)
        if shown:
            figure.legend(loc="outside right upper", frameon=False)
        else:
            axes.set_title("no artifact ran")
        figure.savefig(drawn, format="svg", metadata={"Title": _TITLE, "Creator": None, "Date": None})
    return drawn.getvalue()
