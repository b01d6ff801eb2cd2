"""Everything beside the updates: validation, checkpoints, progress, and the stop on collapse.

Every worker runs it identically, so that all of them stop, save and report at the same step, which Ray waits for.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from stillery.config import StopRules
from stillery.io.storage import Folder
from stillery.records import Rollout
from stillery.telemetry import metrics as observe
from stillery.telemetry.bars import ProgressBar
from stillery.telemetry.logs import logger, report
from stillery.training.loop import complete_checkpoint, report_checkpoint
from stillery.training.refine.stopping import ACCURACY, STANDARD_ERROR, STOPPED, validations_of, why_stop

# The entries of a progress line, in order: the key of the history, the name and the format.
_SHOWN = (
    ("loss", "loss", ".4f"),
    ("reward", "reward", ".3f"),
    ("kl", "KL", ".2g"),
    ("entropy", "entropy", ".3f"),
    ("completions/mean_length", "length", ".0f"),
    ("frac_reward_zero_std", "groups alike", ".0%"),
    ("rewards/accuracies", "pairs told apart", ".0%"),
    ("tokens_per_s", "tokens/s", ",.0f"),
)


class Watch(TrainerCallback):
    """Validates every `every` steps and at both ends, saves there, and stops where `rules` say so.

    `measure` returns the row of a validation at a step; `take_rollouts` those since the last call, which are written to
    `out` with the checkpoint: a run that resumes from it samples the later ones again.
    """

    def __init__(
        self,
        *,
        measure: Callable[[int], dict[str, float]],
        take_rollouts: Callable[[], list[Rollout]],
        every: int,
        rules: StopRules,
        out: Folder,
    ) -> None:
        self._measure = measure
        self._take_rollouts = take_rollouts
        self._every = every
        self._rules = rules
        self._out = out
        self._started = self._logged = time.monotonic()
        self._first_step = self._num_tokens = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not validations_of(state.log_history):
            self._validate(state)
        self._started = self._logged = time.monotonic()
        self._first_step = state.global_step
        self._num_tokens = int(state.num_input_tokens_seen)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            observe.progressed(state.global_step, of=state.max_steps)
        # The step's own metrics enter the history first.
        control.should_log = True

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        step, row = state.global_step, state.log_history[-1]
        if "train_runtime" in row:
            return
        self._add_speed(row)
        if state.is_world_process_zero:
            report(self._progress(state, row))
        if step % self._every and step != state.max_steps:
            return
        self._validate(state)
        control.should_save = True
        if reason := why_stop(state.log_history, self._rules):
            history: list[dict[str, Any]] = state.log_history
            history.append({"step": step, STOPPED: reason})
            control.should_training_stop = True
            if state.is_world_process_zero:
                logger.info(f"refine: stopped at step {step}: {reason}")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        step = state.global_step
        rollouts = self._take_rollouts()
        if rollouts:
            self._out.write_rows(f"rollouts-{step:06d}.parquet", rollouts, Rollout)
        folder = Path(str(args.output_dir)) / f"checkpoint-{step}"
        if state.is_world_process_zero:
            complete_checkpoint(folder, **kwargs)
        # Ray keeps the checkpoint with the best score, and of equal ones the later.
        metrics = {"step": step, "accuracy": validations_of(state.log_history)[step] - step * 1e-9}
        report_checkpoint(folder, metrics)

    def _validate(self, state: TrainerState) -> None:
        row = self._measure(state.global_step)
        state.log_history.append({"step": state.global_step, **row})
        if state.is_world_process_zero:
            shown = f"{row[ACCURACY]:.3f} ± {row[STANDARD_ERROR]:.3f}"
            logger.info(f"refine: step {state.global_step}/{state.max_steps}, validation pass@1 {shown}")

    def _add_speed(self, row: dict[str, Any]) -> None:
        now = time.monotonic()
        row["seconds"] = round(now - self._logged, 3)
        if (seen := row.get("num_tokens")) is not None:
            row["tokens_per_s"] = (seen - self._num_tokens) / max(now - self._logged, 1e-6)
            self._num_tokens = seen
        self._logged = now

    def _progress(self, state: TrainerState, row: dict[str, Any]) -> ProgressBar:
        shown = [f"{name} {row[key]:{form}}" for key, name, form in _SHOWN if row.get(key) is not None]
        named = {key.partition("/")[2]: row[key] for key in row if key.startswith(("part/", "reward/"))}
        parts = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in named.items() if value is not None]
        seconds, numbers = time.monotonic() - self._started, {key: row[key] for key, _, _ in _SHOWN if row.get(key)}
        note = ", ".join([*shown, *parts])
        place = (state.global_step, state.max_steps, seconds, note, self._first_step, "steps")
        return ProgressBar("refine", *place, numbers=numbers)
