"""Accuracy on validation problems during fine-tuning, and the decisions made by it or by validation loss: which
checkpoint becomes the student, and whether training stops early.

In: the problems in PROBLEMS, which the model answers greedily at each validation, each worker its share. Out:
`eval_accuracy` among transformers' own metrics, so that its `metric_for_best_model` and EarlyStoppingCallback can use
it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillery.config import Config, SftConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Prompt, Split, from_table
from stillery.sampling.chat.conversation import Conversation
from stillery.training.generation import Sampling, TransformersSampler
from stillery.training.problems import StudentProblem, first_of, is_gradable, render_problem
from stillery.training.validation import Validation
from stillery.verify.grading import set_limits

# In the stage's output.
PROBLEMS = "problems.parquet"
ACCURACY, LOSS = "eval_accuracy", "eval_loss"
# Ray Train's key for ranking checkpoints, where accuracy decides.
SCORE = "score"
# The largest possible loss times this is less than one right answer among this many problems.
_LOSS_COUNTS, _MOST_PROBLEMS = 1e-6, 10_000


def check_validation(config: Config) -> None:
    """Raise UserError for inconsistent validation settings."""
    sft, problems = config.sft, config.sft.accuracy.num_problems
    if problems == 1 or not 0 <= problems <= _MOST_PROBLEMS:
        raise UserError(f"sft.accuracy.num_problems is {problems}; it must be 0 (off) or from 2 to {_MOST_PROBLEMS}")
    for name in ("max_tokens", "batch_size"):
        if getattr(sft.accuracy, name) <= 0:
            raise UserError(f"sft.accuracy.{name} is {getattr(sft.accuracy, name)}; it must be above 0")
    metric = best_metric(sft)
    if metric not in (LOSS, ACCURACY):
        asked = sft.trl["metric_for_best_model"]
        raise UserError(f"sft.trl.metric_for_best_model is {asked!r}; it must be loss or accuracy")
    if metric == ACCURACY and not problems:
        raise UserError(
            "sft.trl.metric_for_best_model is accuracy, which is not measured: set sft.accuracy.num_problems "
            "(36 is a start)"
        )
    patience = sft.early_stopping_patience
    if patience is not None and patience < 1:
        raise UserError(f"sft.early_stopping_patience is {patience}; it must be at least 1, or null")
    if sft.early_stopping_threshold < 0:
        raise UserError(f"sft.early_stopping_threshold is {sft.early_stopping_threshold:g}; it must be 0 or more")


def best_metric(config: SftConfig) -> str:
    """The metric whose best value decides which checkpoint becomes the student, as transformers' history names it."""
    return f"eval_{str(config.trl.get('metric_for_best_model') or 'loss').removeprefix('eval_')}"


def needs_validation(config: SftConfig) -> str | None:
    """The key that requires validation rows, if one is set."""
    if config.accuracy.num_problems:
        return "sft.accuracy.num_problems"
    if config.early_stopping_patience is not None:
        return "sft.early_stopping_patience"
    return None


def write_problems(
    config: SftConfig, conversation: Conversation, *, prompts: Folder, out: Folder, verify_function: str | None
) -> int:
    """Write the validation problems. Returns their number. Raises UserError if fewer than two have an answer that
    rules, tests or the config's verifier can check."""
    rows = [
        row
        for row in from_table(prompts.read_all(Prompt), Prompt)
        if row.split == Split.VALIDATION and is_gradable(row)
    ]
    if len(rows) < 2:
        raise UserError(
            f"sft.accuracy.num_problems: {len(rows)} validation problems have an answer that can be checked, and "
            "accuracy needs at least 2; set it to 0, or raise prompts.num_validation (or give prompts.validation)"
        )
    problems = [render_problem(conversation, row, verify_function=verify_function) for row in rows]
    chosen = first_of(problems, config.accuracy.num_problems)
    out.write_rows(PROBLEMS, chosen, StudentProblem)
    return len(chosen)


def score_of(metrics: Mapping[str, Any]) -> float:
    """A checkpoint's score where accuracy decides; at equal accuracy the lower validation loss is better."""
    return float(metrics[ACCURACY]) - _LOSS_COUNTS * float(metrics[LOSS])


def accuracy_trainer(kind: type[Any], config: Mapping[str, Any]) -> type[Any]:
    """An SFTTrainer class whose evaluation also answers the problems. Decoding is greedy and draws no random numbers,
    so the training itself is unchanged."""

    class AccuracyTrainer(kind):
        def __init__(self, *positional: Any, **named: Any) -> None:
            super().__init__(*positional, **named)
            self._validation = _validation_of(self, config)

        def evaluation_loop(self, *positional: Any, metric_key_prefix: str = "eval", **named: Any) -> Any:
            from accelerate.utils import gather_object

            output = super().evaluation_loop(*positional, metric_key_prefix=metric_key_prefix, **named)
            place = {"rank": self.accelerator.process_index, "world_size": self.accelerator.num_processes}
            found = self._validation.measure(f"{self.state.global_step}", **place, gather=gather_object)
            measured = {
                "accuracy": found.accuracy,
                "accuracy_standard_error": found.standard_error,
                "completion_length": found.mean_length,
            }
            output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in measured.items()})
            return output

    return AccuracyTrainer


def _validation_of(trainer: Any, config: Mapping[str, Any]) -> Validation:
    told, tokenizer = config["accuracy"], trainer.processing_class
    set_limits(**told["grading"])
    is_sharded = bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
    sampler = TransformersSampler(
        sampling=Sampling(0.0, told["max_tokens"], tuple(told["stops"]), config["seed"]),
        model=lambda: trainer.accelerator.unwrap_model(trainer.model),
        pad_token_id=tokenizer.pad_token_id,
        batch_size=told["batch_size"],
        in_step=is_sharded,
    )
    return Validation(
        Folder(config["out"]).read_rows(PROBLEMS, StudentProblem),
        num_samples=1,
        sampler=sampler,
        tokenizer=tokenizer,
        stops=told["stops"],
        is_even=is_sharded,
    )


def early_stopping(patience: int, threshold: float) -> Any:
    """transformers' EarlyStoppingCallback, without its warning that no best model is loaded: the stage handles that."""
    from transformers import EarlyStoppingCallback

    class EarlyStopping(EarlyStoppingCallback):
        def on_train_begin(self, *positional: Any, **named: Any) -> None:
            """Both conditions that it would check are met."""

    return EarlyStopping(patience, threshold)


def stopped_history(checkpoint: Path) -> list[dict[str, Any]] | None:
    """The history of a checkpoint at which training stopped early; None where it continues. transformers itself would
    continue."""
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    control = state["stateful_callbacks"]["TrainerControl"]["args"]
    return state["log_history"] if control["should_training_stop"] else None
