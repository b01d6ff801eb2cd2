"""scikit-learn's estimators, fitted and converted to the classifiers used in inference."""

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np

from stillery.bonds.classifiers import Floats, Linear, Network
from stillery.bonds.model.mentions import Ints

# The score of an output that is constant in training.
_CERTAIN = 6.0
# Learning rates and epochs, one after the other.
SCHEDULE = ((2e-3, 4), (5e-4, 3), (1e-4, 1))


def fit_linear(rows: Sequence[Sequence[str]], targets: Floats, *, min_count: int, penalty: float, seed: int) -> Linear:
    """One logistic regression for each column of targets, on the features that occur often enough."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    counts = Counter(feature for row in rows for feature in row)
    vocabulary = {f: i for i, f in enumerate(sorted(f for f, n in counts.items() if n >= min_count and "\n" not in f))}
    found = [[vocabulary[f] for f in row if f in vocabulary] for row in rows]
    ends = np.cumsum([0, *(len(row) for row in found)])
    ones = np.ones(int(ends[-1]), np.float64)
    matrix = csr_matrix(
        (ones, np.concatenate([np.array(row, np.int32) for row in found]), ends), (len(rows), len(vocabulary))
    )
    weights = np.zeros((len(vocabulary), targets.shape[1]), np.float32)
    bias = np.zeros(targets.shape[1], np.float32)
    for k in range(targets.shape[1]):
        share = float(targets[:, k].mean())
        if share in (0, 1):
            bias[k] = _CERTAIN if share else -_CERTAIN
            continue
        model = LogisticRegression(C=penalty, max_iter=30, tol=1e-3, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about thirty steps by design
            model.fit(matrix, targets[:, k] > 0.5)
        weights[:, k], bias[k] = np.asarray(model.coef_)[0], np.asarray(model.intercept_)[0]
    return Linear(vocabulary, weights, bias)


def fit_network(
    rows: Floats,
    targets: Ints,
    *,
    hidden: tuple[int, ...],
    seed: int,
    sample_weight: Floats | None = None,
    num_classes: int | None = None,
) -> Network:
    """A perceptron on standardised rows. Targets are classes, or one column for each of several outputs; classes that
    never occur get a score that rules them out."""
    from sklearn.neural_network import MLPClassifier

    shift, scale = rows.mean(axis=0), 1 / np.maximum(rows.std(axis=0), 1e-3)
    standard = ((rows - shift) * scale).astype(np.float32)
    model = MLPClassifier(hidden, alpha=1e-4, warm_start=True, random_state=seed, tol=0, n_iter_no_change=1000)
    model.set_params(batch_size=1024)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the number of epochs is given
        for rate, epochs in SCHEDULE:
            model.set_params(learning_rate_init=rate, max_iter=epochs)
            model.fit(standard, targets, sample_weight=sample_weight)
    layers = [
        (w.astype(np.float32), b.astype(np.float32)) for w, b in zip(model.coefs_, model.intercepts_, strict=True)
    ]
    if num_classes is not None:
        layers[-1] = _spread(layers[-1], np.asarray(model.classes_, np.int64), num_classes)
    return Network(shift.astype(np.float32), scale.astype(np.float32), layers)


def _spread(layer: tuple[Floats, Floats], classes: Ints, count: int) -> tuple[Floats, Floats]:
    """The last layer with a column for each class there is."""
    weights, bias = np.zeros((len(layer[0]), count), np.float32), np.full(count, -30, np.float32)
    weights[:, classes], bias[classes] = layer[0], layer[1]
    return weights, bias
