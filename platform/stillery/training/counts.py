"""Whether there are rows enough for the training that was asked for.

In: the settings, and how many rows there are, or can be at most. Out: nothing, or a UserError, before workers start
and, for generated problems, before the teacher does.
"""

import math

from stillery.config import Config, SftConfig
from stillery.errors import UserError
from stillery.training.accuracy import needs_validation

# TRL's own.
BATCH = 8


def check_most(config: Config) -> None:
    """Raise UserError if the generated problems cannot give a row for each worker, or none to validate on."""
    prompts = config.prompts
    if prompts.source != "tasks":
        return
    most = prompts.num_train * config.curate.max_per_prompt
    _check_workers(config.sft, most, told=f"prompts.num_train={prompts.num_train} gives at most {most} rows")
    if prompts.num_validation == 0:
        _check_validation(config.sft, told="prompts.num_validation is 0")


def check_elastic(config: SftConfig) -> None:
    """Raise UserError if a number of workers that elastic training may come to cannot share the batch."""
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
    tokens) or for the validation that `sft.trl` asks for."""
    _check_workers(config, num_train, told=f"there are {num_train} rows to train on")
    if num_validation == 0:
        _check_validation(config, told="no row of the validation split is left")
    if not config.trl.get("packing"):
        return
    limit = int(config.trl.get("max_length") or 1024)
    batch = int(config.trl.get("per_device_train_batch_size", BATCH)) * config.num_workers
    packed = -(-length // limit)
    if packed < batch:
        raise UserError(
            f"sft.trl.packing: the {num_train} rows fill about {packed} packed rows of {limit} tokens "
            f"(sft.trl.max_length), less than one batch of {batch}; lower sft.trl.max_length or "
            "sft.trl.per_device_train_batch_size, or unset sft.trl.packing"
        )


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
