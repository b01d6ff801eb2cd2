"""Step-to-step pooling of a model's attention, from token ids and their steps, without an L x L matrix.

The model runs once with an attention function of ours in place of its own. Through transformers' attention interface
that function receives the layer's queries and keys (after rotary embedding and any norm), with the scale, soft cap and
sinks, and the mask as a rule over positions. So grouped queries, sliding windows and soft caps are those of the model,
whatever its architecture. Scores exist for `block_size` queries of one key head at a time.
"""

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch

INTERFACE = "stillery_step_attention"

# The arguments that a layer may pass its attention function beside the tensors without changing the softmax.
_HARMLESS = frozenset(
    """is_causal position_ids cache_position use_cache output_attentions output_hidden_states return_dict
    position_embeddings logits_to_keep past_key_values sliding_window""".split()
)


@dataclass(frozen=True, slots=True)
class _Mask:
    """Which keys are visible to a query, as transformers' rule over (batch, head, query, key) positions."""

    rule: Callable[..., torch.Tensor]

    def block(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """True where the query (rows) sees the key (columns)."""
        first = torch.zeros((), dtype=torch.long, device=queries.device)
        seen = self.rule(first, first, queries[:, None], keys[None, :])
        return torch.broadcast_to(seen, (len(queries), len(keys)))


@dataclass(slots=True)
class _Pooling:
    """The target of one call's pooling. `mass` is (S + 1) x (S + 1): [query's step, key's step], summed over tokens.

    Tokens outside every step have the index S, so their row and column are dropped at the end.
    """

    step_of_token: torch.Tensor
    num_steps: int
    layers: Collection[int] | None
    heads: torch.Tensor | None
    block_size: int
    mass: torch.Tensor
    layers_seen: set[int] = field(default_factory=set)


_POOLING: ContextVar[_Pooling] = ContextVar("stillery_pooling")


def pool_attention(
    model: Any,
    token_ids: torch.Tensor,
    step_of_token: torch.Tensor,
    *,
    num_steps: int,
    layers: Collection[int] | None,
    heads: Collection[int] | None,
    block_size: int,
) -> torch.Tensor:
    """The S x S attention mass from each step (row) to each step (column), in float64 on the CPU.

    `token_ids` and `step_of_token` are of shape (L,); a token of no step has the index `num_steps`. An entry is the
    sum over the row step's tokens of the mean, over the chosen layers and heads, of the attention that falls on the
    column step's tokens. Memory is that of the forward pass, without logits, plus O(block_size x L + S x S).

    Raises ValueError if the model does not support this, or a chosen layer or head does not exist.
    """
    config = _supported_config(model)
    _check_range("layer", layers, int(config.num_hidden_layers))
    _check_range("head", heads, int(config.num_attention_heads))
    pooling = _Pooling(
        step_of_token=step_of_token,
        num_steps=num_steps,
        layers=layers,
        heads=None if heads is None else torch.tensor(sorted(set(heads))),
        block_size=block_size,
        mass=torch.zeros((num_steps + 1, num_steps + 1), dtype=torch.float64),
    )
    with _attention_replaced(model), torch.no_grad():
        token = _POOLING.set(pooling)
        try:
            # The body without its language-model head: no logits of L x vocabulary.
            model.base_model(input_ids=token_ids[None].to(model.device), use_cache=False)
        finally:
            _POOLING.reset(token)
    missing = sorted(set(layers or ()) - pooling.layers_seen)
    if missing or not pooling.layers_seen:
        raise ValueError(f"{type(model).__name__} has no softmax attention in layer {missing or 'any'}; choose others")
    return pooling.mass[:num_steps, :num_steps] / len(pooling.layers_seen)


def _supported_config(model: Any) -> Any:
    """The text model's config, if this is a causal decoder whose attention goes through the attention interface."""
    name, config = type(model).__name__, model.config
    if config.is_encoder_decoder or not getattr(config, "is_causal", True):
        raise ValueError(f"{name} is not a decoder-only causal model; attention energy is defined for those alone")
    if not model._can_set_attn_implementation():
        raise ValueError(
            f"{name} does not take its attention from transformers' AttentionInterface, so queries and keys cannot be "
            "read after rotary embedding; use a model that does (Llama, Qwen, Mistral, Gemma, Phi, ...)"
        )
    return config.get_text_config(decoder=True)


def _check_range(what: str, chosen: Collection[int] | None, size: int) -> None:
    if chosen is None:
        return
    if not chosen:
        raise ValueError(f"no {what} chosen; leave `{what}s` None for all {size}")
    if outside := sorted(i for i in chosen if not 0 <= i < size):
        raise ValueError(f"no {what} {outside}: the model has {what}s 0 to {size - 1}")


@contextmanager
def _attention_replaced(model: Any) -> Generator[None]:
    """The model in evaluation mode with our attention function; afterwards it is restored."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(INTERFACE, _attention)
    AttentionMaskInterface.register(INTERFACE, _lazy_mask)
    implementations = {id(m.config): (m.config, m.config._attn_implementation) for m in _submodels(model)}
    training = {module: module.training for module in model.modules()}
    try:
        model.set_attn_implementation(INTERFACE)
        model.eval()
        yield
    finally:
        for config, implementation in implementations.values():
            config._attn_implementation_internal = implementation
        for module, mode in training.items():
            module.training = mode


def _submodels(model: Any) -> Iterator[Any]:
    from transformers import PreTrainedModel

    return (module for module in model.modules() if isinstance(module, PreTrainedModel))


def _lazy_mask(*, mask_function: Callable[..., torch.Tensor], **_: Any) -> _Mask:
    """Replaces an L x L mask: its rule, to be evaluated block by block."""
    return _Mask(mask_function)


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: _Mask | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Softmax attention of one layer, block by block, adding its step-to-step mass to the current pooling.

    Shapes: query (1, heads, L, d), key and value (1, key heads, L, d); the output is (1, L, heads, d of the values).
    """
    layer = _check_call(module, query, key, attention_mask, dropout=dropout, options=options)
    pooling = _POOLING.get()
    _, num_heads, length, width = query.shape
    group = num_heads // key.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    chosen = layer if pooling.layers is None or layer in pooling.layers else None
    steps = pooling.step_of_token.to(query.device)
    weights = _head_weights(pooling.heads, num_heads, device=query.device).view(-1, group)
    mass = pooling.mass.new_zeros(pooling.mass.shape, device=query.device)
    output = query.new_empty((length, num_heads, value.shape[-1]))
    for start in range(0, length, pooling.block_size):
        stop = min(start + pooling.block_size, length)
        positions = torch.arange(stop, device=query.device)
        hidden = ~_visible(attention_mask, positions[start:], positions)
        on_keys = torch.zeros((stop - start, stop), device=query.device)
        for head in range(key.shape[1]):
            heads = slice(head * group, (head + 1) * group)
            scores = (query[0, heads, start:stop] @ key[0, head, :stop].T) * scale
            sinks = None if s_aux is None else s_aux[heads]
            attention = _softmax(scores, hidden, softcap=softcap, sinks=sinks)
            output[start:stop, heads] = (attention.to(value.dtype) @ value[0, head, :stop]).transpose(0, 1)
            if chosen is not None and bool(weights[head].any()):
                on_keys += torch.einsum("h,hqk->qk", weights[head], attention)
        if chosen is not None:
            _add_mass(mass, on_keys, query_steps=steps[start:stop], key_steps=steps[:stop])
    if chosen is not None:
        pooling.mass += mass.to(pooling.mass.device)
        pooling.layers_seen.add(layer)
    return output[None], None


def _check_call(
    module: Any, query: torch.Tensor, key: torch.Tensor, mask: Any, *, dropout: float, options: dict[str, Any]
) -> int:
    """The layer's index, if this call is plain causal self-attention over the one sequence."""
    name = type(module).__name__
    given = [k for k, v in options.items() if k not in _HARMLESS and v is not None and v is not False]
    if given or not isinstance(mask, _Mask | None):
        raise ValueError(f"{name} attends with {', '.join(given) or 'a mask of its own'}, which is not supported")
    if query.shape[0] != 1 or query.shape[2] != key.shape[2] or getattr(module, "layer_idx", None) is None:
        raise ValueError(f"{name} is not causal self-attention over the whole sequence, which alone is supported")
    assert dropout == 0.0
    return int(module.layer_idx)


def _visible(mask: _Mask | None, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    return keys[None, :] <= queries[:, None] if mask is None else mask.block(queries, keys)


def _head_weights(heads: torch.Tensor | None, num_heads: int, *, device: torch.device) -> torch.Tensor:
    """The weight of each head in the mean over the chosen ones."""
    if heads is None:
        return torch.full((num_heads,), 1 / num_heads, device=device)
    return torch.zeros(num_heads, device=device).index_fill_(0, heads.to(device), 1 / len(heads))


def _softmax(
    scores: torch.Tensor, hidden: torch.Tensor, *, softcap: float | None, sinks: torch.Tensor | None
) -> torch.Tensor:
    """Attention of (heads, queries, keys) in float32; a sink takes its share of the mass and is not a key."""
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.float().masked_fill_(hidden, -torch.inf)
    if sinks is None:
        return scores.softmax(dim=-1)
    column = sinks.float().view(-1, 1, 1).expand(-1, scores.shape[1], 1)
    return torch.cat([scores, column], dim=-1).softmax(dim=-1)[..., :-1]


def _add_mass(mass: torch.Tensor, on_keys: torch.Tensor, *, query_steps: torch.Tensor, key_steps: torch.Tensor) -> None:
    """Add a block of (queries, keys) to the step-to-step mass, keys first, to keep intermediates small."""
    on_steps = on_keys.new_zeros((len(on_keys), mass.shape[1])).index_add_(1, key_steps, on_keys)
    mass.index_add_(0, query_steps, on_steps.to(mass.dtype))
