"""Two kinds of classifier in numpy, for inference only: linear on named features, and a small network on numbers.

`stillery.bonds.fit` trains them with scikit-learn and writes their weights beside this file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Linear:
    """Scores of a row that has some of the named features: the sum of their weights, and a bias."""

    vocabulary: Mapping[str, int]
    weights: Floats
    bias: Floats

    def scores(self, rows: Sequence[Sequence[str]]) -> Floats:
        """One row of scores, one for each output, for each list of features. Unknown features are ignored."""
        known = self.vocabulary.get
        unknown = len(self.weights)
        found = np.fromiter((known(f, unknown) for f in chain.from_iterable(rows)), np.int64)
        ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
        total = np.zeros((len(rows), self.weights.shape[1]), np.float32)
        kept = found < unknown
        owners = np.repeat(np.arange(len(rows)), np.diff(ends, prepend=0))[kept]
        if len(owners):
            firsts = np.flatnonzero(np.diff(owners, prepend=-1))
            total[owners[firsts]] = np.add.reduceat(self.weights[found[kept]], firsts, axis=0)
        return total + self.bias


@dataclass(frozen=True, slots=True)
class Network:
    """A perceptron with rectified hidden layers. `shift` and `scale` standardise the inputs."""

    shift: Floats
    scale: Floats
    layers: Sequence[tuple[Floats, Floats]]

    def scores(self, rows: Floats) -> Floats:
        """The last layer's scores, one row for each row of features."""
        x = (rows - self.shift) * self.scale
        for weights, bias in self.layers[:-1]:
            x = np.maximum(x @ weights + bias, 0)
        weights, bias = self.layers[-1]
        return x @ weights + bias


def softmax(scores: Floats) -> Floats:
    """Probabilities of mutually exclusive outputs."""
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float32)


def sigmoid(scores: Floats) -> Floats:
    """Probabilities of independent outputs."""
    return np.asarray(1 / (1 + np.exp(-np.clip(scores, -30, 30))), np.float32)


def arrays_of(model: Linear | Network) -> dict[str, NDArray[Any]]:
    """A classifier as the arrays that are stored: half precision, names as one text."""
    if isinstance(model, Linear):
        names = "\n".join(sorted(model.vocabulary, key=model.vocabulary.__getitem__))
        text = np.frombuffer(names.encode(), np.uint8)
        return {"names": text, "weights": model.weights.astype(np.float16), "bias": model.bias}
    arrays: dict[str, NDArray[Any]] = {"shift": model.shift, "scale": model.scale}
    for i, (weights, bias) in enumerate(model.layers):
        arrays |= {f"weights{i}": weights.astype(np.float16), f"bias{i}": bias}
    return arrays


def model_of(arrays: Mapping[str, NDArray[Any]]) -> Linear | Network:
    """The classifier from the arrays of `arrays_of`."""
    single = {name: a.astype(np.float32) for name, a in arrays.items() if name != "names"}
    if "names" in arrays:
        names = arrays["names"].tobytes().decode().split("\n")
        return Linear({name: i for i, name in enumerate(names)}, single["weights"], single["bias"])
    count = sum(name.startswith("weights") for name in single)
    layers = [(single[f"weights{i}"], single[f"bias{i}"]) for i in range(count)]
    return Network(single["shift"], single["scale"], layers)


@cache
def load_arrays(name: str) -> dict[str, NDArray[Any]]:
    """The arrays of one file of shipped weights."""
    path = resources.files("stillery.bonds.weights").joinpath(f"{name}.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return dict(stored)
