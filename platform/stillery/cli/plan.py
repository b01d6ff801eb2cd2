"""`stillery plan`: prints the plan of a config as a table or JSON; exits with 2 if the run cannot work."""

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillery.config import Config, load_config
from stillery.config.passthrough import check_tables
from stillery.errors import UserError
from stillery.plan.architecture import Architecture
from stillery.plan.estimate import Models, Plan, StagePlan, make_plan, read_models
from stillery.problems.files import count_rows
from stillery.records import Split

UNKNOWN = "?"


def plan_run(path: str | None, overrides: Sequence[str], *, as_json: bool, model_configs: Sequence[str]) -> None:
    """Print the plan. Raises UserError, after that, if it cannot work; its text says what would."""
    config = load_config(path, overrides)
    check_tables(config)
    _count_problems(config)
    models = read_models(config, model_configs=dict(_model_config(argument) for argument in model_configs))
    plan = make_plan(config, models)
    print(json.dumps(to_data(plan, models), indent=1) if as_json else to_text(config, plan, models))
    if not plan.fits:
        raise UserError("this plan cannot work:\n" + "\n".join(plan.problems))


def to_data(plan: Plan, models: Models) -> dict[str, Any]:
    """The plan as JSON data: memory in GiB of one GPU, null where unknown."""
    return {
        "fits": plan.fits,
        "problems": plan.problems,
        "notes": plan.notes,
        "gpus": plan.gpus,
        "seconds": plan.seconds,
        "untimed": plan.untimed,
        "price": plan.price,
        "samples_per_prompt": dataclasses.asdict(plan.expected),
        "stages": [dataclasses.asdict(stage) for stage in plan.stages],
        "models": {name: None if m is None else dataclasses.asdict(m) for name, m in _roles(models)},
    }


def to_text(config: Config, plan: Plan, models: Models) -> str:
    """Models, a line for each stage with the memory of one of its GPUs below, sums, and the assumptions."""
    lines = [f"{role:<9}{_model(model)}" for role, model in _roles(models) if model is not None]
    lines += ["", f"{'stage':<18}{'GPUs':>5}{'samples':>13}{'tokens':>10}{'time':>10}{'price':>12}"]
    for stage in plan.stages:
        lines.append(_stage(stage))
        if stage.memory_gib:
            where = "a GPU" if stage.gpus else "of the host"
            parts = ", ".join(f"{name.replace('_', ' ')} {size:.2f}" for name, size in stage.memory_gib.items() if size)
            fit = "" if stage.sequences is None else f"; {stage.sequences:,} samples of a replica at once"
            lines.append(f"    GiB {where}: {parts}; {sum(stage.memory_gib.values()):.2f} in all{fit}")
    sums = StagePlan("at least" if plan.untimed else "in all", plan.gpus, seconds=plan.seconds, price=plan.price)
    lines += [_stage(sums), *(f"note: {note}" for note in plan.notes)]
    if plan.untimed:
        lines.append(f"note: no time without a throughput (plan.*_per_s): {', '.join(plan.untimed)}")
    if config.plan.gpu_price_per_hour is None and plan.gpus:
        lines.append("note: no price without plan.gpu_price_per_hour")
    return "\n".join(lines)


def _count_problems(config: Config) -> None:
    """Set the numbers of problems that the config leaves open to the row counts of local files. Files that are not
    here, such as those of a cluster or in a store, leave them open; the plan then says so."""
    prompts, plan = config.prompts, config.plan
    if prompts.source != "file" or (plan.num_prompts is not None and plan.num_evaluated is not None):
        return
    if any("://" in (name or "") for name in (prompts.train, prompts.validation, prompts.test)):
        return
    with contextlib.suppress(UserError):
        rows = count_rows(prompts)
        limits = {Split.TRAIN: prompts.limit_train, Split.TEST: prompts.limit_test}
        kept = {split: min(number, limits.get(split) or number) for split, number in rows.items()}
        plan.num_prompts = plan.num_prompts or kept[Split.TRAIN]
        evaluated = sum(kept.get(Split(split), 0) for split in config.evaluate.splits)
        plan.num_evaluated = plan.num_evaluated or evaluated or None


def _roles(models: Models) -> list[tuple[str, Architecture | None]]:
    return [("teacher", models.teacher), ("student", models.student)]


def _model(model: Architecture) -> str:
    return (
        f"{model.name}: {model.num_parameters:,} parameters ({model.dtype}), {model.num_layers} layers, "
        f"{model.kv_values_per_token * model.num_layers:,} cached values a token"
    )


def _stage(stage: StagePlan) -> str:
    cells = [_count(stage.samples), _count(stage.tokens), _duration(stage.seconds)]
    price = UNKNOWN if stage.price is None else f"{stage.price:,.2f}"
    return f"{stage.name:<18}{stage.gpus:>5g}{cells[0]:>13}{cells[1]:>10}{cells[2]:>10}{price:>12}"


def _count(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:,.0f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _model_config(argument: str) -> tuple[str, Path]:
    model, equals, path = argument.rpartition("=")
    if not equals:
        raise UserError(f"--model-config {argument}: expected MODEL=FILE, such as Qwen/QwQ-32B=config.json")
    return model, Path(path)
