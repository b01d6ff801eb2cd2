"""The training curves: the loss of fine-tuning, and the logs of refinement."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stillery.report.charts import Line, Point
from stillery.templating import NONE

_ACCURACY, _ERROR = "validation/pass@1", "validation/standard_error"
# The columns of the table of refinement's steps: name and format.
_COLUMNS = {
    "reward": ("reward", ".3f"),
    "kl": ("KL", ".2g"),
    "entropy": ("entropy", ".3f"),
    "completions/mean_length": ("tokens", ".0f"),
    "frac_reward_zero_std": ("groups alike", ".0%"),
    "sampling/sampling_logp_difference/mean": ("engine off by", ".1e"),
    "rewards/accuracies": ("pairs told apart", ".0%"),
    "rewards/margins": ("margin", ".3f"),
    "seconds": ("seconds", ".1f"),
}
_ROWS = 12

History = Sequence[Mapping[str, Any]]


def losses(history: History) -> list[Line]:
    """The loss over the steps of fine-tuning, without NaN values."""
    series = [_curve(history, "loss", "Training"), _curve(history, "eval_loss", "Validation", style="eval")]
    return [one for one in series if one.points]


def accuracy(history: History) -> Line:
    """Accuracy over the steps of refinement, on validation problems."""
    points = [Point(row["step"], row[_ACCURACY], row[_ERROR]) for row in history if _ACCURACY in row]
    return Line("after", "Validation", points)


def rewards(history: History) -> list[Line]:
    """The reward and each part of it, in separate charts since their scales differ; only those with at least two
    points."""
    names = {"reward": "Reward, the weighted sum"}
    parts = {key for row in history for key in row if key.startswith(("part/", "reward/"))}
    names |= {key: key.partition("/")[2].replace("_", " ") for key in sorted(parts)}
    series = [_curve(history, key, name) for key, name in names.items()]
    return [one for one in series if len(one.points) > 1]


def steps(history: History) -> tuple[list[str], list[list[str]]]:
    """A table of refinement's steps, at most a dozen: its head and its rows."""
    rows = [row for row in history if "loss" in row]
    keys = [key for key in _COLUMNS if any(row.get(key) is not None for row in rows)]
    shown = rows[:: max(1, -(-len(rows) // _ROWS))]
    cells = [[str(row["step"]), *(_cell(row.get(key), _COLUMNS[key][1]) for key in keys)] for row in shown]
    return ["Step", *(_COLUMNS[key][0] for key in keys)], cells


def _curve(history: History, key: str, name: str, *, style: str = "train") -> Line:
    rows = [(row["step"], row.get(key)) for row in history]
    return Line(style, name, [Point(x, y) for x, y in rows if y is not None and math.isfinite(y)])


def _cell(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)
