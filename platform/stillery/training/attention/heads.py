"""The teacher's attention, at the operands of a sample's claims, and its heads that best predict the operands'
sources."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stillery.curation.bond_tags import without_tag
from stillery.errors import UserError
from stillery.records import Generation, Sample
from stillery.training.attention.alignment import align
from stillery.training.attention.distance import concordance, fit_decay, predict
from stillery.training.attention.drafts import Draft, Floats, Operand, texts_of


@dataclass(frozen=True, slots=True)
class Heads:
    """Heads by (layer, head), best first, with the AUC of their pooled attention in finding operands' sources, and that
    of distance alone, both on samples held out from the choice; `num_rows` is the number of operands in those."""

    chosen: list[tuple[int, int]]
    auc: float
    distance_auc: float
    num_rows: int


class TeacherAttention:
    """A teacher loaded for reading its attention, from its folder or Hub name. With `as_written` it reads samples
    behind the prompt that they were sampled from; a model other than the one that wrote them uses its own chat
    template."""

    def __init__(self, model: str, *, on_gpu: bool, as_written: bool = True) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from stillery.training.attention.readout import Readout

        self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self._as_written = as_written
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            model, dtype="auto" if on_gpu else torch.float32, use_safetensors=True
        )
        self._model: Any = loaded.to("cuda" if on_gpu else "cpu").eval()
        self._readout = Readout(self._model)

    def read(self, sample: Sample, generation: Generation, draft: Draft) -> list[tuple[Operand, Floats]] | None:
        """For each operand that has a position in the teacher's tokens, its attention there: of shape (layers, heads,
        sources before it), shares that sum to 1. None where the sample's text differs from the teacher's."""
        import torch

        from stillery.training.attention.readout import Question

        question, content = texts_of(sample)
        prompt, completion = generation.rendered, generation.completion
        if not self._as_written:
            asked_by = [{"role": m.role, "content": without_tag(m.content)} for m in sample.prompt]
            prompt = self._tokenizer.apply_chat_template(asked_by, tokenize=False, add_generation_prompt=True)
            completion = content
        aligned = align(
            self._tokenizer,
            prompt=prompt,
            completion=completion,
            question=question,
            content=content,
            sources=draft.sources,
            operands=[(o.start, o.end, len(o.shares)) for o in draft.operands],
        )
        if aligned is None:
            return None
        found = [(o, q) for o, q in zip(draft.operands, aligned.queries, strict=True) if q is not None]
        if not found:
            return []
        device = self._model.device
        asked = Question(
            queries=torch.tensor([(0, position) for _, position in found], device=device),
            sources=torch.tensor([aligned.sources], device=device),
            num_sources=len(draft.sources),
        )
        self._readout.ask(asked)
        with torch.no_grad():
            self._model.base_model(input_ids=torch.tensor([aligned.input_ids], device=device), use_cache=False)
        masses = torch.stack([asked.masses[layer] for layer in sorted(asked.masses)]).cpu().numpy().astype(np.float64)
        rows = [masses[:, :, row, : len(o.shares)] for row, (o, _) in enumerate(found)]
        return [(o, _shares(mass)) for (o, _), mass in zip(found, rows, strict=True)]


def _shares(mass: Floats) -> Floats:
    """Masses over the sources before an operand, as shares: a query may attend to the beginning of its own step."""
    return mass / np.maximum(mass.sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)


def choose_heads(
    readings: Sequence[tuple[Draft, Sequence[tuple[Operand, Floats]]]], *, num_heads: int, min_gain: float
) -> Heads:
    """The heads that best predict operands' sources on every second sample; the others measure how good they are.

    `readings` are of samples, as returned by `TeacherAttention.read`. Only named operands count. Raises UserError where
    there are too few, or the heads do not beat distance alone, fitted to the operands that chose them, by `min_gain`.
    """
    choosing, testing = readings[::2], readings[1::2]
    scored = [concordance(attention, operand.shares) for _, operand, attention in _named(choosing)]
    scored = [scores for scores in scored if not np.isnan(scores).any()]
    tests = [(d, o, a) for d, o, a in _named(testing) if (o.shares == 0).any()]
    if not scored or not tests:
        raise UserError(
            "attention: no claims in the samples name what they rest on, so the teacher's heads cannot be told apart; "
            "raise attention.num_calibration, or set attention.target=bonds"
        )
    by_head = np.mean(scored, axis=0)
    best = np.argsort(-by_head, axis=None)[:num_heads]
    chosen = [(int(layer), int(head)) for layer, head in zip(*np.unravel_index(best, by_head.shape), strict=True)]
    decay = fit_decay((d, o, o.shares) for d, o, _ in _named(choosing))
    auc = float(np.mean([concordance(pooled(a, chosen), o.shares) for _, o, a in tests]))
    alone = float(np.mean([concordance(predict(d, o, decay=decay), o.shares) for d, o, _ in tests]))
    if auc < alone + min_gain:
        raise UserError(
            f"attention: the teacher's best {num_heads} heads tell what a claim rests on with an AUC of {auc:.3f} on "
            f"{len(tests)} operands, distance alone with {alone:.3f}: less than attention.min_gain={min_gain} better, "
            "so there is nothing to transfer; take attention.target=bonds, or another attention.num_heads"
        )
    return Heads(chosen, auc, alone, len(tests))


def pooled(attention: Floats, chosen: Sequence[tuple[int, int]]) -> Floats:
    """The mean of the chosen heads' attention."""
    return np.mean([attention[layer, head] for layer, head in chosen], axis=0)


def _named(
    readings: Sequence[tuple[Draft, Sequence[tuple[Operand, Floats]]]],
) -> Iterator[tuple[Draft, Operand, Floats]]:
    return ((d, operand, attention) for d, rows in readings for operand, attention in rows if operand.is_named)
