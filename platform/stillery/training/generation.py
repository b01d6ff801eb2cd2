"""Completions of the model in training, sampled by transformers.

In: prompts in tokens. Out: completions in tokens. Refinement has other samplers with the same interface
(`training.refine.rollouts`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Completion:
    """The sampled tokens, and the log-probability of each, in nats, after temperature; None where unknown."""

    tokens: list[int]
    logprobs: list[float] | None


@dataclass(frozen=True, slots=True)
class Sampling:
    """The sampling settings. The distribution is not truncated: the model trains on exactly what it samples from. At
    temperature 0 decoding is greedy and nothing is drawn."""

    temperature: float
    max_tokens: int
    stop_token_ids: tuple[int, ...]
    seed: int


class CompletionSampler(Protocol):
    """The interface of samplers of the model in training."""

    def sync_weights(self) -> None:
        """Load the model's current weights."""
        ...

    def generate(self, prompts: Sequence[Sequence[int]], *, draw: str) -> list[Completion]:
        """One completion of each prompt; `draw` names the draw and, with the seed, determines it."""
        ...


class TransformersSampler:
    """Samples the model itself, in batches of `batch_size`. Its draws use torch's own random state.

    All workers must call a model with sharded weights equally often: `in_step` keeps them generating until the longest
    completion of all has ended. Each worker must then be given the same number of prompts.
    """

    def __init__(
        self,
        *,
        sampling: Sampling,
        model: Callable[[], Any],
        pad_token_id: int,
        batch_size: int,
        in_step: bool = False,
    ) -> None:
        self._sampling = sampling
        self._model = model
        self._pad = pad_token_id
        self._batch_size = batch_size
        self._in_step = in_step

    def sync_weights(self) -> None:
        """Nothing to load: it samples the model itself."""

    def generate(self, prompts: Sequence[Sequence[int]], *, draw: str) -> list[Completion]:
        import torch

        del draw
        model = self._model()
        was_training = model.training
        model.eval()
        with torch.no_grad():
            made = [
                Completion(tokens, None)
                for start in range(0, len(prompts), self._batch_size)
                for tokens in self._batch(model, prompts[start : start + self._batch_size])
            ]
        model.train(was_training)
        return made

    def _batch(self, model: Any, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        import torch

        width = max(len(ids) for ids in prompts)
        padded = torch.tensor([[self._pad] * (width - len(ids)) + list(ids) for ids in prompts])
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
        drawn = {"do_sample": True, "temperature": self._sampling.temperature, "top_p": 1.0, "top_k": 0}
        made = model.generate(
            input_ids=padded.to(model.device),
            attention_mask=mask.to(model.device),
            **(drawn if self._sampling.temperature else {"do_sample": False}),
            max_new_tokens=self._sampling.max_tokens,
            eos_token_id=list(self._sampling.stop_token_ids),
            pad_token_id=self._pad,
            use_cache=True,
            synced_gpus=self._in_step or None,
        )
        return [until_stop(row.tolist(), self._sampling.stop_token_ids) for row in made[:, width:].cpu()]


def until_stop(tokens: list[int], stops: Sequence[int]) -> list[int]:
    """A completion up to and including the first token at which generation stops."""
    return next((tokens[: end + 1] for end, token in enumerate(tokens) if token in stops), tokens)
