"""Rows that a network has not seen: how sure it may be of its classes, and which damping they speak for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from revgn.estimators.chunk_steps import Examples
from revgn.estimators.perceptron import Network

Array = NDArray[Any]
# Logarithms of the temperatures that are looked at.
SPAN = 3.0


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows of which each network leaves some out.

    Attributes:
        inputs, classes, weight: (n, d), (n,) and how often each counts, (n,).
        fold: the number of the network that leaves the row out, (n,); -1 where none does.
    """

    inputs: Array
    classes: Array
    weight: Array
    fold: Array

    @property
    def some(self) -> bool:
        """Whether any row is left out."""
        return bool((self.fold >= 0).any())

    def examples(self, number: int) -> Examples:
        """What the network of that number is fitted to."""
        seen = self.fold != number
        return Examples.of(self.inputs[seen], self.classes[seen], self.weight[seen])

    def temperature(self, networks: Sequence[Network]) -> tuple[float, float]:
        """The T for which the cross-entropy of outputs / T is smallest on the rows that each has left out, and that.

        Args:
            networks: the first of all, in order.

        Source: Guo et al. (2017), "On calibration of modern neural networks".
        """
        left_out = [self.fold == number for number in range(len(networks))]
        logits = np.concatenate(
            [each.outputs(self.inputs[rows]) for each, rows in zip(networks, left_out, strict=True)]
        )
        classes = np.concatenate([self.classes[rows] for rows in left_out])
        weight = np.concatenate([self.weight[rows] for rows in left_out])

        def loss(log_t: float) -> float:
            of_class = log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(classes)), classes]
            return -float(np.average(of_class, weights=weight))

        found: Any = minimize_scalar(loss, bounds=(-SPAN, SPAN), method="bounded")
        return float(np.exp(found.x)), float(found.fun)


def folds(x: Array, count: int, random: np.random.RandomState) -> Array:
    """To which of `count` folds each row belongs, (n,); -1 for all where there are too few rows to leave any out.

    Equal rows belong to one fold: none of them then tells of another, and a row twice is as a row of weight two.

    Args:
        x: rows, (n, d).
        count: folds.
        random: the source.
    """
    _, index = np.unique(x, axis=0, return_inverse=True)
    distinct = int(index.max()) + 1
    if distinct < 2 * count:
        return np.full(len(x), -1)
    return (random.permutation(distinct) % count)[index]
