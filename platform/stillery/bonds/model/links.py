"""The links between the steps of a trace: for each candidate pair, the probabilities of every kind of link.

Two networks in a row. The first sees a pair alone; the second also sees the first one's scores of its rivals and
neighbours, for the pairs that the first does not rule out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from stillery.bonds.claims.evidence import Evidence
from stillery.bonds.classifiers import Floats, Linear, Network, load_arrays, model_of, softmax
from stillery.bonds.model.candidates import find_candidates
from stillery.bonds.model.mentions import Ints, Mentions, find_mentions
from stillery.bonds.model.pairs import Context, competition_features, context_of, pair_features
from stillery.bonds.model.roles import head_probabilities

# The kinds of link, "none" first.
LINKS = ("none", "infer", "execute", "restate", "elaborate", "exemplify", "proceed", "decompose", "backtrack", "verify",
         "support", "attack", "positive", "negative", "uncertain")  # fmt: skip
RULED_OUT = 0.02
_CHUNK = 40_000


@dataclass(frozen=True, slots=True)
class LinkModel:
    """The classifiers of steps and links, and the thresholds and calibration that were tuned with them."""

    linear: Linear
    roles: Network
    first: Network
    second: Network
    thresholds: dict[str, float]
    calibration: Floats


@dataclass(frozen=True, slots=True)
class Links:
    """Pairs of an earlier step `i` and a later one `j` with their probabilities, one column for each of `LINKS`."""

    i: Ints
    j: Ints
    probabilities: Floats
    heads: Floats
    mentions: Mentions


def find_links(texts: Sequence[str], evidence: Evidence, model: LinkModel) -> Links:
    """The links that are not ruled out, ordered by the later step."""
    context, i, j = first_look(list(texts), evidence, model)
    if not len(i):
        return Links(i, j, np.zeros((0, len(LINKS)), np.float32), context.heads, context.mentions)
    left: list[tuple[Ints, Ints, Floats, Floats]] = []
    for start in range(0, len(i), _CHUNK):
        first, second = i[start : start + _CHUNK], j[start : start + _CHUNK]
        rows = pair_features(context, first, second)
        guesses = softmax(model.first.scores(rows))
        kept = 1 - guesses[:, 0] > RULED_OUT
        left.append((first[kept], second[kept], guesses[kept], rows[kept]))
    i, j = np.concatenate([part[0] for part in left]), np.concatenate([part[1] for part in left])
    guesses = np.concatenate([part[2] for part in left])
    rivals = competition_features(i, j, guesses, len(texts))
    scores: list[Floats] = []
    start = 0
    for _, _, _, rows in left:
        scores.append(model.second.scores(np.concatenate([rows, rivals[start : start + len(rows)]], axis=1)))
        start += len(rows)
    return Links(i, j, softmax(np.concatenate(scores)), context.heads, context.mentions)


def first_look(texts: list[str], evidence: Evidence, model: LinkModel) -> tuple[Context, Ints, Ints]:
    """The context of the steps, and the candidate pairs."""
    heads = head_probabilities(texts, evidence, linear=model.linear, network=model.roles)
    mentions = find_mentions(texts)
    return context_of(texts, mentions, heads, evidence), *find_candidates(mentions, heads, evidence)


@cache
def load_model(*, markers: bool) -> LinkModel:
    """The shipped classifiers: those that read markers, or those trained without them."""
    stored = load_arrays("marked" if markers else "masked")

    def part(name: str) -> Linear | Network:
        prefix = name + "."
        return model_of({key[len(prefix) :]: a for key, a in stored.items() if key.startswith(prefix)})

    linear, roles, first, second = (part(name) for name in ("linear", "roles", "first", "second"))
    assert isinstance(linear, Linear)
    assert isinstance(roles, Network)
    assert isinstance(first, Network)
    assert isinstance(second, Network)
    thresholds = {key[10:]: float(a) for key, a in stored.items() if key.startswith("threshold.")}
    return LinkModel(linear, roles, first, second, thresholds, stored["calibration"].astype(np.float32))
