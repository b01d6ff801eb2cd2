"""The attention stage: the targets of attention transfer, computed once and stored for each sample.

In: the training samples and the generations that they were made from. Out: targets-*.parquet, one row per sample. The
teacher's target takes one forward pass over each sample, a file of samples at a time, on any machines that have
`attention.num_cpus` and `num_gpus`; the bonds' target takes none.
"""

import functools
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from stillery.config import AttentionConfig, Config
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.sampling.models import model_id, resolve_model
from stillery.stages.stage import Stage, StageContext
from stillery.telemetry import logs
from stillery.telemetry.bars import ProgressBar
from stillery.telemetry.logs import logger
from stillery.training.attention.checks import is_on, teacher_of
from stillery.training.attention.files import calibrate, write_targets


def find_targets(
    config: AttentionConfig, *, teacher: str | None, samples: Folder, generations: Folder, out: Folder
) -> dict[str, Any]:
    """Write targets-*.parquet and return a summary. `teacher` is the model to read, None for the bonds' target. Needs a
    running Ray. Raises UserError where the teacher's heads predict no better than distance alone."""
    import ray

    given = {"config": config, "teacher": teacher, "samples": samples, "generations": generations}
    asked: dict[str, Any] = {"num_cpus": config.num_cpus, "num_gpus": config.num_gpus if teacher is not None else 0}
    calibration, fault = ray.get(ray.remote(**asked)(_calibrate).remote(given))
    if fault is not None:
        raise UserError(fault)
    summary: dict[str, Any] = {"target": config.target, "decay": calibration.decay}
    if calibration.heads is not None:
        heads = calibration.heads
        told = ", ".join(f"{layer}.{head}" for layer, head in heads.chosen)
        logger.info(
            f"attention: the teacher's heads {told} tell what a claim rests on with an AUC of {heads.auc:.3f} on "
            f"{heads.num_rows:,} operands, distance alone with {heads.distance_auc:.3f}"
        )
        summary |= {"heads": told, "auc": round(heads.auc, 4), "distance_auc": round(heads.distance_auc, 4)}
    names = samples.names(".parquet")
    files = ray.data.from_items([{"name": name} for name in names], override_num_blocks=len(names))
    files.context.enable_progress_bars = False
    task = functools.partial(_write, given=given, calibration=calibration, out=out)
    counts, without = Counter[str](), Counter[str]()
    started = time.monotonic()
    for number, row in enumerate(files.map(task, **asked).iter_rows(), 1):
        written = json.loads(row["written"])
        without.update(written.pop("without"))
        counts.update(written)
        if len(names) > 1:
            seconds, rows = time.monotonic() - started, f"{counts['rows']:,} rows"
            logs.report(ProgressBar("attention", number, len(names), seconds, rows, unit="files"))
    if not counts["rows"]:
        raise UserError(f"attention: no sample has a claim to attend from ({dict(without)}); set attention.target=null")
    return {**summary, **counts, "without": dict(without)}


def _on_worker(config: AttentionConfig) -> None:
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(max(1, int(config.num_cpus)))


def _calibrate(given: dict[str, Any]) -> tuple[Any, str | None]:
    """The Ray task. A UserError is returned as a value: raised, it would carry Ray's traceback."""
    _on_worker(given["config"])
    try:
        return calibrate(**_resolved(given)), None
    except UserError as error:
        return None, str(error)


def _write(row: dict[str, str], *, given: dict[str, Any], calibration: Any, out: Folder) -> dict[str, str]:
    _on_worker(given["config"])
    return {"written": json.dumps(write_targets(row["name"], **_resolved(given), calibration=calibration, out=out))}


def _resolved(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the teacher's path on this machine."""
    resolve: Callable[[str], str] = resolve_model
    return {**given, "teacher": None if given["teacher"] is None else resolve(given["teacher"])}


def _settings(config: Config) -> dict[str, Any]:
    attention = config.attention
    shared = {"target": attention.target, "num_calibration": attention.num_calibration, "max_rows": attention.max_rows}
    if attention.target != "teacher":
        return shared
    read = {"model": model_id(teacher_of(config)), "as_written": attention.model is None}
    read |= {"on_gpu": attention.num_gpus > 0}
    return {**shared, **read, "num_heads": attention.num_heads, "min_gain": attention.min_gain}


def _run(context: StageContext) -> dict[str, Any]:
    config = context.config
    return find_targets(
        config.attention,
        teacher=teacher_of(config) if config.attention.target == "teacher" else None,
        samples=context.folder("curate"),
        generations=context.folder("generate"),
        out=context.out,
    )


STAGE = Stage("attention", version=1, needs=("curate", "generate"), settings=_settings, run=_run, enabled=is_on)
