"""Attention energy: how strongly each step of a trace attends to each earlier one in a model.

The softmax is a Boltzmann distribution over energies: for one query q and key k with E = -q.k / sqrt(d) (the bond
energy of arXiv 2601.06002), attention is exp(-E) / Z, so -log(attention) = E + log Z. The energy here is -log of the
pooled attention: it orders the sources of a query as E does, is comparable between queries, since Z is taken out,
and has a meaning for steps, whose attention is a sum over tokens, where a sum of E has none. Lower is stronger.

Most of its ordering is distance: near steps, and long ones, get more attention whatever their content. `strength` is
log attention minus the trace's own decay with distance; higher is stronger.
"""

import bisect
import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stillery.records import Molecule

Matrix = NDArray[np.float64]

BLOCK_SIZE = 128


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class AttentionEnergy:
    """Step-to-step attention of one trace of S steps. Matrices are S x S, [earlier step, later step].

    - `attention`: the mean over the later step's tokens of the attention mass on the earlier step's tokens, in 0..1,
      over the chosen layers and heads; the diagonal is a step's attention to itself, below it there is none.
    - `energy`: -log(attention) in nats, lower is stronger; inf where there is no attention.
    - `strength`: log attention minus what distance and the earlier step's length alone predict, in nats, higher is
      stronger; 0 is as expected. NaN on the diagonal and below it, -inf where there is no attention.
    - `distance`: tokens between the middles of the two steps.
    - `num_tokens`: tokens of each step. A step with none (its characters share tokens with a larger neighbour) has no
      attention and a strength of NaN.
    - `decay`: the exponent b of the fit, attention a token ~ distance^-b; `distance_share`: the share of the variance
      of log attention (a token of the earlier step) that distance alone explains.
    """

    attention: Matrix
    energy: Matrix
    strength: Matrix
    distance: Matrix
    num_tokens: NDArray[np.int64]
    decay: float
    distance_share: float


def attention_energy(
    model: Any,
    tokenizer: Any,
    text: str,
    spans: Sequence[tuple[int, int]],
    *,
    prompt: str = "",
    layers: Collection[int] | None = None,
    heads: Collection[int] | None = None,
    block_size: int = BLOCK_SIZE,
) -> AttentionEnergy:
    """The attention energies between the steps of a trace, for a decoder-only Hugging Face model.

    `spans` are the steps' (start, end) characters in `text`, in order and disjoint. `prompt` is the rendered text
    before `text`, and takes attention of its own; without one, the tokenizer adds its special tokens. `layers` and
    `heads` are indices, None for all; the heads are taken in every chosen layer. The model keeps its weights, mode and
    attention implementation. Time is that of a forward pass with plain attention; memory grows with L x block_size + S
    x S, never with L x L.

    Raises ValueError if the spans overlap or leave the text, the tokenizer gives no character offsets, or the model's
    attention cannot be read (see `attention_pooling`).
    """
    import torch

    from stillery.bonds.measure.attention_pooling import pool_attention

    _check_spans(spans, len(text))
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}; it must be at least 1")
    token_ids, offsets = _encode(tokenizer, prompt + text, add_special_tokens=not prompt)
    steps = steps_of_tokens([(a - len(prompt), b - len(prompt)) for a, b in offsets], spans)
    mass = pool_attention(
        model,
        torch.tensor(token_ids),
        torch.tensor(steps),
        num_steps=len(spans),
        layers=layers,
        heads=heads,
        block_size=block_size,
    ).numpy()
    return energies_of_mass(mass, np.asarray(steps), num_steps=len(spans))


def with_energies(molecule: "Molecule", energies: AttentionEnergy) -> "Molecule":
    """The molecule with the attention energy of each of its bonds (inf where a bond's steps share no attention)."""
    return dataclasses.replace(molecule, energies=[float(energies.energy[b.source, b.target]) for b in molecule.bonds])


def steps_of_tokens(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int]:
    """The step that holds most characters of each token (the earlier at a tie), or len(spans) for a token in no step.

    Both are in order of their characters, as from a tokenizer and a segmentation.
    """
    ends = [end for _, end in spans]
    found: list[int] = []
    for start, end in offsets:
        best, most = len(spans), 0
        index = bisect.bisect_right(ends, start)
        while index < len(spans) and spans[index][0] < end:
            overlap = min(end, spans[index][1]) - max(start, spans[index][0])
            if overlap > most:
                best, most = index, overlap
            index += 1
        found.append(best)
    return found


def _check_spans(spans: Sequence[tuple[int, int]], length: int) -> None:
    if not spans:
        raise ValueError("no spans: a trace needs at least one step")
    last = 0
    for index, (start, end) in enumerate(spans):
        if not last <= start < end <= length:
            raise ValueError(
                f"span {index} is ({start}, {end}): spans must be non-empty, in order, apart and within the "
                f"{length} characters of the text"
            )
        last = end


def _encode(tokenizer: Any, text: str, *, add_special_tokens: bool) -> tuple[list[int], list[tuple[int, int]]]:
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"{type(tokenizer).__name__} gives no character offsets; load the fast tokenizer")
    # verbose=False: passing a trace longer than the tokenizer's nominal limit is the caller's choice.
    encoded = tokenizer(text, add_special_tokens=add_special_tokens, return_offsets_mapping=True, verbose=False)
    return encoded["input_ids"], encoded["offset_mapping"]


def energies_of_mass(mass: Matrix, steps: NDArray[np.int64], *, num_steps: int) -> AttentionEnergy:
    """The energies of a step-to-step mass that is [later, earlier] and summed over the later step's tokens."""
    positions = np.arange(len(steps), dtype=np.float64)
    num_tokens = np.bincount(steps, minlength=num_steps + 1)[:num_steps]
    sums = np.bincount(steps, weights=positions, minlength=num_steps + 1)[:num_steps]
    present = num_tokens > 0
    middles = np.divide(sums, num_tokens, out=np.full(num_steps, np.nan), where=present)
    attention = (mass / np.maximum(num_tokens, 1)[:, None]).T
    distance = np.abs(middles[None, :] - middles[:, None])
    with np.errstate(divide="ignore"):
        energy = -np.log(attention)
    later = np.triu(np.ones((num_steps, num_steps), dtype=bool), k=1)
    pairs = later & present[:, None] & present[None, :]
    strength = np.full_like(energy, np.nan)
    strength[pairs] = -np.inf
    fitted = pairs & np.isfinite(energy)
    log_tokens = np.log(np.maximum(num_tokens, 1))[:, None]
    decay, share, residual = _fit_decay(np.log(distance[fitted]), (-energy - log_tokens)[fitted])
    strength[fitted] = residual
    return AttentionEnergy(attention, energy, strength, distance, num_tokens, decay, share)


def _fit_decay(log_distance: Matrix, log_density: Matrix, *, rounds: int = 20) -> tuple[float, float, Matrix]:
    """Fit log density = a - b log distance; returns b, the share of variance explained, and the residuals.

    Huber's loss by iteratively reweighted least squares, its scale from the median absolute deviation: the few steps
    that attract attention from everywhere must not bend the fit that they are compared with. With too few pairs for a
    slope the line passes through the points, and the residuals are 0: nothing is known beyond distance.
    """
    if not len(log_distance):
        return 0.0, 0.0, np.empty(0)
    design = np.stack([np.ones_like(log_distance), -log_distance], axis=1)
    weights = np.ones_like(log_density)
    residual, slope = log_density, 0.0
    for _ in range(rounds):
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(design * root[:, None], log_density * root, rcond=None)[0]
        residual, slope = log_density - design @ solution, float(solution[1])
        scale = 1.4826 * float(np.median(np.abs(residual)))
        if scale < 1e-9:
            break
        weights = np.minimum(1.0, 1.345 * scale / np.maximum(np.abs(residual), 1e-12))
    correlation = 0.0
    if np.ptp(log_distance) > 0 and np.ptp(log_density) > 0:
        correlation = float(np.corrcoef(log_distance, log_density)[0, 1])
    return slope, correlation**2, residual
