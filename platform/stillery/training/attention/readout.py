"""A model's attention at a few positions, summed over sources: its layers' queries and keys in, masses out, with their
gradient.

The model's attention is torch's own (`sdpa`). In addition, in the requested layers, the softmax is recomputed for the
requested rows alone, which keeps it cheap. The request is stored on the modules and not in a context: with gradient
checkpointing a layer runs again during `backward`, in other threads on a GPU, and then has to repeat exactly what it
did before. So it stays until the next request, or None.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch

INTERFACE = "stillery_source_attention"
_ASKED = "stillery_asked"


@dataclass(slots=True)
class Question:
    """A request for a batch: for each of the R `queries`, (row, position, ...), the attention on sources 1 to
    `num_sources`, where `sources` (rows, L) gives the source of each token, 0 for none.

    `masses` maps a layer to its answer, of shape (heads, R, num_sources): shares that sum to 1, or zeros where no
    source is visible. `heads` are those requested, None for all.
    """

    queries: torch.Tensor
    sources: torch.Tensor
    num_sources: int
    heads: slice | None = None
    masses: dict[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])


class Readout:
    """A model whose attention can be read in the given layers, all of them if None."""

    def __init__(self, model: Any, *, layers: Collection[int] | None = None) -> None:
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register(INTERFACE, _attention)
        # Without a mask of its own, a packed row's samples would attend to each other.
        AttentionMaskInterface.register(INTERFACE, sdpa_mask)
        model.set_attn_implementation(INTERFACE)
        self._modules = [
            module
            for module in model.modules()
            if isinstance(number := getattr(module, "layer_idx", None), int) and (layers is None or number in layers)
        ]

    def ask(self, question: Question | None) -> None:
        """Set the request for the model's next forward passes."""
        for module in self._modules:
            setattr(module, _ASKED, question)


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    question: Question | None = getattr(module, _ASKED, None)
    if question is not None:
        scaling = options.get("scaling")
        question.masses[module.layer_idx] = source_masses(
            query, key, attention_mask, question, scaling=query.shape[-1] ** -0.5 if scaling is None else scaling
        )
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)


def source_masses(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, question: Question, *, scaling: float
) -> torch.Tensor:
    """The attention masses in one layer, of shape (heads, R, num_sources), in float32. Shapes: query (rows, heads, L,
    d), key (rows, key heads, L, d), mask (rows or 1, 1, L, L), where True or 0 is visible; None is causal."""
    group = query.shape[1] // key.shape[1]
    heads = torch.arange(query.shape[1], device=query.device)[question.heads or slice(None)]
    parts: list[torch.Tensor] = []
    order: list[torch.Tensor] = []
    for row in question.queries[:, 0].unique().tolist():
        chosen = (question.queries[:, 0] == row).nonzero()[:, 0]
        positions = question.queries[chosen, 1]
        asked = query[row, heads][:, positions].float()
        scores = asked @ key[row, heads // group].float().transpose(1, 2) * scaling
        hidden = _hidden(mask, row, positions, length=key.shape[2])
        attention = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1)
        sums = attention.new_zeros((*attention.shape[:2], question.num_sources + 1))
        parts.append(sums.index_add(2, question.sources[row], attention)[..., 1:])
        order.append(chosen)
    masses = torch.cat(parts, dim=1)[:, torch.cat(order).argsort()]
    return masses / masses.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def _hidden(mask: torch.Tensor | None, row: int, positions: torch.Tensor, *, length: int) -> torch.Tensor:
    """The keys (columns) that are masked for the queries at some positions of a row."""
    if mask is None:
        return torch.arange(length, device=positions.device)[None, :] > positions[:, None]
    seen = mask[min(row, mask.shape[0] - 1), 0, positions, :length]
    return ~seen if seen.dtype == torch.bool else seen < 0
