"""Offline distillation in the loss: a trainer whose loss at a token is (1 - weight) times the cross-entropy plus weight
times the divergence from the teacher, where the row has the teacher's distribution.

Distributions are compared on the teacher's k likeliest tokens, with all other tokens as one outcome: KL(teacher ||
student) on these k + 1 is at most that on all tokens, and 0 where the two agree on them. A temperature t raises both to
1/t, normalises them, and multiplies the divergence by t^2, so that its gradient keeps its size (Hinton et al. 2015,
arXiv 1503.02531).
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from stillery.sampling.top_logprobs import NO_TOKEN
from stillery.training.distillation.columns import TOP_IDS, TOP_LOGPROBS

# The number of positions projected onto the alternatives at once; the backward pass recomputes them.
POSITIONS_AT_ONCE = 1024
# The minimum of the student's remaining mass: below it float32 cannot tell it from 0.
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Distillation:
    """The share of the divergence in a token's loss, and its temperature."""

    weight: float
    temperature: float


def distilling(kind: type[Any], distillation: Distillation) -> type[Any]:
    """A trainer class on top of the weighted one that adds distillation. A token's weight applies to its whole loss;
    the validation loss is unchanged."""
    base: Any = kind

    class DistillingTrainer(base):  # type: ignore[misc]
        def __init__(self, *positional: Any, **named: Any) -> None:
            super().__init__(*positional, **named)
            own: Any = self.data_collator
            settings = {field.name: getattr(own, field.name) for field in dataclasses.fields(own)}
            self.data_collator = distilling_collator(type(own))(**settings)
            inner: Any = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
            self._head: Any = inner.get_output_embeddings()
            self._hidden: Any = None
            self._is_asked = False
            inner.base_model.register_forward_hook(self._keep)

        def _keep(self, _module: Any, _inputs: Any, output: Any) -> None:
            """Keep the last hidden states of a forward pass when they are requested."""
            if self._is_asked:
                self._hidden = output.last_hidden_state[:, :-1]

        def _set_signature_columns_if_needed(self) -> None:
            super()._set_signature_columns_if_needed()
            columns: list[str] = self._signature_columns or []
            self._signature_columns = [*columns, *(c for c in (TOP_IDS, TOP_LOGPROBS) if c not in columns)]

        def compute_loss(self, model: Any, inputs: dict[str, Any], *positional: Any, **named: Any) -> Any:
            ids, logprobs = inputs.pop(TOP_IDS)[:, 1:], inputs.pop(TOP_LOGPROBS)[:, 1:]
            labels = inputs["labels"][:, 1:]
            asked = (labels != -100) & (ids != NO_TOKEN).any(dim=-1)

            def mixed(**given: Any) -> Any:
                self._is_asked = True
                found = model(**given)
                hidden, self._hidden, self._is_asked = self._hidden, None, False
                likely = found.log_probs[asked]
                student = alternatives_of(
                    hidden[asked], self._head, ids=ids[asked], labels=labels[asked], likely=likely
                )
                divergence = divergence_of(student, logprobs[asked], temperature=distillation.temperature)
                self._metrics["train"]["distill_kl"].append(divergence.detach().mean().item())
                both = (1 - distillation.weight) * likely - distillation.weight * divergence.to(likely.dtype)
                found.log_probs = found.log_probs.masked_scatter(asked, both)
                return found

            trained: Any = self.model
            called: Any = mixed if trained.training and bool(asked.any()) else model
            return super().compute_loss(called, inputs, *positional, **named)

    return DistillingTrainer


def alternatives_of(hidden: Any, head: Any, *, ids: Any, labels: Any, likely: Any) -> Any:
    """The student's log-probabilities (N, k) of the alternatives `ids` (N, k) at positions with the hidden states (N,
    d) and the `labels` (N,), whose log-probabilities are `likely` (N,): the rest follows from differences of logits,
    without a second pass over the vocabulary. A missing alternative gets the label's."""
    import torch
    from torch.utils.checkpoint import checkpoint

    asked = torch.cat([torch.where(ids == NO_TOKEN, labels[:, None], ids), labels[:, None]], dim=1)
    present, places = torch.unique(asked, return_inverse=True)
    weight = head.weight[present].float()
    bias = None if getattr(head, "bias", None) is None else head.bias[present].float()

    def project(states: Any, chosen: Any) -> Any:
        with torch.autocast(states.device.type, enabled=False):
            return torch.nn.functional.linear(states.float(), weight, bias).gather(1, chosen)

    parts = [
        checkpoint(project, hidden[start : start + POSITIONS_AT_ONCE], places[start : start + POSITIONS_AT_ONCE],
                   use_reentrant=False)
        for start in range(0, len(hidden), POSITIONS_AT_ONCE)
    ]  # fmt: skip
    logits: Any = torch.cat(parts)
    return logits[:, :-1] - logits[:, -1:] + likely.float()[:, None]


def divergence_of(student: Any, teacher: Any, *, temperature: float = 1.0) -> Any:
    """KL(teacher || student) of each row (N,), in nats, on k alternatives and the rest as one outcome. Both arguments
    are log-probabilities (N, k); the teacher's is -inf for a missing alternative."""
    import torch

    is_there = torch.isfinite(teacher)
    ours = student.masked_fill(~is_there, -torch.inf)
    theirs, ours = _with_rest(teacher.float()), _with_rest(ours)
    if temperature != 1:
        theirs, ours = (torch.log_softmax(side / temperature, dim=-1) for side in (theirs, ours))
    mass = theirs.exp()
    counts = mass > 0
    terms = mass * (theirs.masked_fill(~counts, 0.0) - ours.masked_fill(~counts, 0.0))
    return terms.sum(dim=-1) * temperature**2


def _with_rest(logprobs: Any) -> Any:
    """Log-probabilities (N, k) with that of all other tokens appended."""
    import torch

    rest = (1 - logprobs.exp().sum(dim=-1, keepdim=True)).clamp(min=_LEAST)
    return torch.cat([logprobs, rest.log()], dim=-1)


def distilling_collator(kind: type[Any]) -> type[Any]:
    """A collator on top of the weighted one that pads the alternatives beside the tokens: `top_ids` and `top_logprobs`
    of shape (B, T, k), NO_TOKEN and -inf where there is none."""
    import numpy as np
    import torch

    base: Any = kind

    class DistillingCollator(base):  # type: ignore[misc]
        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch: dict[str, Any] = super().torch_call(examples)
            rows = [(example[TOP_IDS], example[TOP_LOGPROBS]) for example in examples]
            if self.padding_free:
                rows = [([ids for row, _ in rows for ids in row], [values for _, row in rows for values in row])]
            k = max((len(ids) for row, _ in rows for ids in row), default=1) or 1
            shape = (*batch["input_ids"].shape, k)
            top_ids = np.full(shape, NO_TOKEN, np.int64)
            top_logprobs = np.full(shape, -np.inf, np.float32)
            for number, (of_ids, of_logprobs) in enumerate(rows):
                for position, ids in enumerate(of_ids):
                    if ids:
                        top_ids[number, position, : len(ids)] = ids
                        top_logprobs[number, position, : len(ids)] = of_logprobs[position]
            return batch | {TOP_IDS: torch.from_numpy(top_ids), TOP_LOGPROBS: torch.from_numpy(top_logprobs)}

    return DistillingCollator
