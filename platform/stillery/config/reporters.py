"""Where training's curves go during a run: the reporters of `sft.trl.report_to` and `refine.trl.report_to`.

Unset means MLflow; `none`: nowhere; a name or a list of names: only those; `all`: every installed one.
"""

import importlib.util
from collections.abc import Mapping
from typing import Any, cast

from stillery.config.suggestion import suggest

MLFLOW, NONE, ALL = "mlflow", "none", "all"
# transformers' name of each reporter -> the modules of which one must be installed.
REPORTERS: dict[str, tuple[str, ...]] = {
    MLFLOW: ("mlflow",),
    "wandb": ("wandb",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "comet_ml": ("comet_ml",),
    "clearml": ("clearml",),
    "swanlab": ("swanlab",),
    "dvclive": ("dvclive",),
    "codecarbon": ("codecarbon",),
}


def reporters_of(trl: Mapping[str, Any]) -> list[str]:
    """The reporters that a table names, installed or not."""
    told: Any = trl.get("report_to")
    if told is None:
        return [MLFLOW]
    names = [told] if isinstance(told, str) else [str(name) for name in cast(list[Any], told)]
    if ALL in names:
        return [name for name in REPORTERS if is_installed(name)]
    return [name for name in dict.fromkeys(names) if name != NONE]


def is_installed(reporter: str) -> bool:
    return any(importlib.util.find_spec(module) is not None for module in REPORTERS[reporter])


def fault_of_reporters(trl: Mapping[str, Any], *, prefix: str) -> list[str]:
    """The faults of the table's `report_to`, one line per reporter."""
    faults: list[str] = []
    for name in reporters_of(trl):
        if name not in REPORTERS:
            faults.append(f"{prefix}.report_to: no reporter {name!r}{suggest(name, [*REPORTERS, NONE, ALL])}")
        elif not is_installed(name):
            faults.append(
                f"{prefix}.report_to: {name} is not installed; pip install {REPORTERS[name][0]}, or leave it out"
            )
    return faults
