"""A run's record in MLflow, as plain data: params, metrics, losses and tags within MLflow's limits.

In: the resolved config and the stages' outputs. Out: mappings that `mlflow_store` writes. Secrets are removed before
anything leaves the run's folder.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from stillery.io.run_folder import Output

MAX_PARAM_LENGTH = 6000
EVALUATIONS = {
    "evaluate_teacher": "teacher",
    "evaluate_before": "student_before",
    "evaluate_sft": "student_sft",
    "evaluate_after": "student_after",
}

_SECRET_KEYS = frozenset({"token", "hf_token", "hub_token", "api_key", "password", "secret"})
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_STRUCK = "***"


def redact(value: Any) -> Any:
    """The same data without the values of secret keys and without user:password in URLs."""
    if isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value).items()
        return {k: _STRUCK if k in _SECRET_KEYS and v is not None else redact(v) for k, v in items}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in cast(Sequence[Any], value)]
    return _URL_CREDENTIALS.sub(f"{_STRUCK}@", value) if isinstance(value, str) else value


def params_of(config: Mapping[str, Any]) -> dict[str, str]:
    """A nested config as MLflow params: dotted keys, lists as JSON, values cut at MLflow's limit."""
    params: dict[str, str] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in cast(Mapping[str, Any], value).items():
                add(f"{prefix}.{key}" if prefix else str(key), inner)
            return
        text = value if isinstance(value, str) else json.dumps(value)
        params[_key(prefix)] = text[:MAX_PARAM_LENGTH]

    if config:
        add("", config)
    return params


def metrics_of(outputs: Mapping[str, Output]) -> dict[str, float]:
    """`MODEL/SPLIT/MEASURE` of every evaluation: pass_at_K and majority_at_K with their standard errors (fractions),
    and the plain measures. MLflow allows no @ in a name. `bonds/MODEL/...`, where bonds were analysed: the share of
    each kind, the mean stability, and a student's divergence from the teacher in bits."""
    metrics: dict[str, float] = {}
    for stage, model in EVALUATIONS.items():
        if stage not in outputs:
            continue
        for split, figures in outputs[stage].summary["splits"].items():
            for name, value in figures["overall"].items():
                metrics |= _measure(f"{model}/{split}/{name.replace('@', '_at_')}", value)
    if "compare_bonds" in outputs:
        metrics |= _bond_metrics(outputs["compare_bonds"].summary)
    return {_key(name): value for name, value in metrics.items()}


def _bond_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for role, found in summary["models"].items():
        metrics |= {f"bonds/{role}/{kind}": share[0] for kind, share in found["shares"].items()}
        if found["mean_stability"] is not None:
            metrics[f"bonds/{role}/mean_stability"] = found["mean_stability"]
    for role, found in summary["divergence"].items():
        metrics |= {f"bonds/{role}/{part}_divergence": found[part]["value"] for part in ("marginal", "transitions")}
    return metrics


def _measure(name: str, value: Any) -> dict[str, float]:
    if isinstance(value, (int, float)):
        return {name: float(value)} if math.isfinite(value) else {}
    if isinstance(value, Mapping) and "mean" in value:
        mean, error = value["mean"], value["standard_error"]
        return {name: mean} | ({f"{name}_standard_error": error} if error is not None else {})
    if isinstance(value, Mapping):
        return {f"{name}/{k}": float(v) for k, v in cast(Mapping[str, Any], value).items()}
    return {}


def losses_of(history: Sequence[Mapping[str, Any]], *, prefix: str = "train") -> list[tuple[str, float, int]]:
    """(metric, value, step) of a training history; missing or non-finite values are left out."""
    return [
        (f"{prefix}/{_key(name)}", float(value), int(row["step"]))
        for row in history
        for name, value in row.items()
        if name != "step" and isinstance(value, (int, float)) and math.isfinite(value)
    ]


def stage_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers of a stage's summary, for its MLflow run."""
    return {
        _key(name): float(value)
        for name, value in summary.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def _key(name: str) -> str:
    """A name that MLflow accepts: letters, digits, and _ - . / and spaces, at most 250 of them."""
    return re.sub(r"[^\w\-./ ]", "_", name)[:250]
