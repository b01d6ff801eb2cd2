"""Checks that there are enough rows for the configured training.

In: the settings, and the number of rows, or an upper bound. Out: nothing, or a UserError: before workers start and,
where there are already too few problems, before the teacher starts.
"""

import math
from collections.abc import Collection, Mapping, Sequence

from stillery.config import Config, SftConfig
from stillery.errors import UserError
from stillery.telemetry.logs import logger
from stillery.training.accuracy import needs_validation

# TRL's default.
BATCH = 8


def check_most(config: Config) -> None:
    """Raise UserError if the generated problems cannot give enough rows to train or validate on."""
    prompts = config.prompts
    if prompts.source == "tasks":
        keys = {
            "train": f"the problems of prompts.num_train={prompts.num_train}",
            "validation": "prompts.num_validation is 0",
        }
        check_problems(config, num_train=prompts.num_train, num_validation=prompts.num_validation, keys=keys)


def check_problems(config: Config, *, num_train: int, num_validation: int, keys: Mapping[str, str]) -> None:
    """Raise UserError if this many problems cannot give a row for each worker, a packed batch, or a validation row.
    `keys` name the settings of the counts: `train`, and `validation` if there are none."""
    sft, most = config.sft, num_train * config.curate.max_per_prompt
    told = f"{keys['train']} give at most {most} rows"
    _check_workers(sft, most, told=told)
    # A packed row holds at least one.
    if sft.trl.get("packing") and most < _batch(sft):
        raise UserError(
            f"sft.trl.packing: {told}, less than one batch of {_batch(sft)}; unset it, lower "
            "sft.trl.per_device_train_batch_size, or raise the number of problems"
        )
    if num_validation == 0:
        _check_validation(sft, told=keys["validation"])


def check_elastic(config: SftConfig) -> None:
    """Raise UserError if elastic training may reach a number of workers that cannot share the batch evenly."""
    most, least = config.max_workers, config.num_workers
    if most is None:
        return
    if most < least:
        raise UserError(f"sft.max_workers={most} is below sft.num_workers={least}, the fewest workers")
    if config.max_failures == 0:
        raise UserError("sft.max_workers needs sft.max_failures above 0: a lost worker is a failure")
    each = int(config.trl.get("per_device_train_batch_size", BATCH))
    counts = range(least, most + 1)
    uneven = [workers for workers in counts if each * least % workers]
    if uneven:
        unit = math.lcm(*counts) // least
        raise UserError(
            f"sft.max_workers={most}: {uneven[0]} workers cannot share a batch of {each * least} "
            f"(sft.trl.per_device_train_batch_size x sft.num_workers) evenly; a multiple of {unit} as "
            "sft.trl.per_device_train_batch_size does"
        )


def check_counts(config: SftConfig, *, num_train: int, num_validation: int, length: int) -> None:
    """Raise UserError if the rows are too few for the workers, for one packed batch (`length` is that of all rows, in
    tokens) or for the validation that `sft.trl` sets."""
    _check_workers(config, num_train, told=f"there are {num_train} rows to train on")
    if num_validation == 0:
        _check_validation(config, told="no row of the validation split is left")
    if not config.trl.get("packing"):
        return
    limit = int(config.trl.get("max_length") or 1024)
    batch = _batch(config)
    packed = -(-length // limit)
    if packed < batch:
        raise UserError(
            f"sft.trl.packing: the {num_train} rows fill about {packed} packed rows of {limit} tokens "
            f"(sft.trl.max_length), less than one batch of {batch}; lower sft.trl.max_length or "
            "sft.trl.per_device_train_batch_size, or unset sft.trl.packing"
        )


def _batch(config: SftConfig) -> int:
    return int(config.trl.get("per_device_train_batch_size", BATCH)) * config.num_workers


def _check_workers(config: SftConfig, num_rows: int, *, told: str) -> None:
    if num_rows < config.num_workers:
        raise UserError(f"sft.num_workers={config.num_workers}: {told}; lower it, or raise the number of problems")


def _check_validation(config: SftConfig, *, told: str) -> None:
    asked = config.trl.get("eval_strategy")
    key = needs_validation(config) or (None if asked in (None, "no", False) else f"sft.trl.eval_strategy={asked}")
    if key is not None:
        raise UserError(
            f"{key}: {told}; unset it, or raise prompts.num_validation (or give "
            "prompts.validation or prompts.validation_fraction)"
        )


def check_answer_only_tasks(wanted: Sequence[str], trained: Collection[str]) -> None:
    """Warn of a task of `sft.answer_only_tasks` that no sample is of: the teacher may have solved none of it. Raises
    UserError if that is so of all of them."""
    missing = [task for task in wanted if task not in trained]
    if not missing:
        return
    there = ", ".join(sorted(trained))
    told = f"sft.answer_only_tasks: nothing to train on is of the task {missing[0]!r}; there are {there}"
    if len(missing) == len(wanted):
        raise UserError(told)
    logger.warning(told)
