"""Logs a Trainer's history as metrics of an MLflow run, row by row as it comes, with a few generations at each
validation.

No failure here ends a training: a tracking server that does not answer is reported once.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from stillery.telemetry.logs import logger

# The maximum length of a displayed generation, which costs seconds at each validation.
MAX_NEW_TOKENS = 256


class LiveMlflow(TrainerCallback):
    """Logs every row of the history as it comes, on the first worker alone."""

    def __init__(self, tracking_uri: str, run_id: str, *, shown: Sequence[Sequence[int]] = ()) -> None:
        self._uri = tracking_uri
        self._run_id = run_id
        self._shown = shown
        self._num_logged = 0
        self._client: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # On a resumed run the earlier rows are already logged.
        self._num_logged = len(state.log_history) if state.global_step else 0
        if state.is_world_process_zero:
            import mlflow

            self._client = mlflow.MlflowClient(self._uri, self._uri)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        rows, self._num_logged = state.log_history[self._num_logged :], len(state.log_history)
        numbers = [number for row in rows for number in numbers_of(row)]
        if numbers and self._client is not None:
            self._send(lambda client: client.log_batch(self._run_id, metrics=_metrics(numbers)))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._client is None or not self._shown or args.fsdp or args.deepspeed:
            return
        text = generations(kwargs["model"], kwargs["processing_class"], self._shown)
        name = f"samples/step-{state.global_step:06d}.txt"
        self._send(lambda client: client.log_text(self._run_id, text, name))

    def _send(self, call: Any) -> None:
        try:
            call(self._client)
        except Exception as error:
            # Boundary: whatever the server's failure, training continues.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            logger.info(f"MLflow does not answer ({reason}); curves are logged when the stage has finished")
            self._client = None


def numbers_of(row: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """(metric, value, step) of one row of a history, with names that MLflow accepts; non-finite values are left out."""
    return [
        (re.sub(r"[^\w\-./ ]", "_", name)[:250], float(value), int(row["step"]))
        for name, value in row.items()
        if name != "step" and isinstance(value, (int, float)) and math.isfinite(value)
    ]


def generations(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]]) -> str:
    """Greedy completions of prompts by the current model, as text with the prompts."""
    import torch

    was_training = model.training
    model.eval()
    try:
        parts: list[str] = []
        for number, prompt in enumerate(prompts, start=1):
            ids = torch.tensor([list(prompt)], device=model.device)
            with torch.no_grad():
                made = model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=MAX_NEW_TOKENS,
                    do_sample=False,
                    use_cache=True,
                    pad_token_id=tokenizer.pad_token_id,
                )
            asked, written = tokenizer.decode(ids[0]), tokenizer.decode(made[0, ids.shape[1] :])
            parts.append(f"--- {number}: prompt\n{asked}\n--- {number}: completion\n{written}\n")
        return "\n".join(parts)
    finally:
        model.train(was_training)


def _metrics(numbers: Sequence[tuple[str, float, int]]) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(name, value, now, step) for name, value, step in numbers]
