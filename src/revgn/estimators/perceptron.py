"""A multilayer perceptron as arrays: where it starts, its outputs, and its tangent kernel between any two tables."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Network:
    """Linear layers with tanh between them, float64.

    Attributes:
        weights: (q, p) of each layer from p to q.
        biases: (q,) of each layer.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    @classmethod
    def start(cls, sizes: Sequence[int], random: np.random.RandomState) -> "Network":
        """Weights and biases uniform in +-1 / sqrt(p), as torch.nn.Linear draws them.

        Args:
            sizes: inputs, widths of the hidden layers, outputs k.
            random: the source.
        """
        weights: list[Array] = []
        biases: list[Array] = []
        for p, q in itertools.pairwise(sizes):
            bound = p**-0.5
            weights.append(random.uniform(-bound, bound, (q, p)))
            biases.append(random.uniform(-bound, bound, q))
        return cls(tuple(weights), tuple(biases))

    def module(self) -> nn.Sequential:
        """The network as a module with parameters of its own."""
        layers: list[nn.Module] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            # Without torch's own start, which would draw from its global random numbers.
            layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], dtype=torch.float64)
            layer.weight = nn.Parameter(torch.tensor(weight))
            layer.bias = nn.Parameter(torch.tensor(bias))
            layers += [layer, nn.Tanh()]
        return nn.Sequential(*layers[:-1])

    @classmethod
    def of(cls, module: nn.Sequential) -> "Network":
        """The network that a module is, in arrays of its own."""
        linear = [layer for layer in module if isinstance(layer, nn.Linear)]
        return cls(
            tuple(layer.weight.detach().numpy().copy() for layer in linear),
            tuple(layer.bias.detach().numpy().copy() for layer in linear),
        )

    def outputs(self, x: Array) -> Array:
        """F, (m, k), at inputs (m, d)."""
        return self._activations(x)[-1]

    def tangents(self, x: Array) -> "Tangents":
        """What the tangent kernel of a network of one output needs of each row of x, (m, d)."""
        features = self._activations(x)[:-1]
        # Derivatives of the output by each layer's own outputs, (m, q), from the last layer backwards.
        cotangents = [np.ones((len(x), 1))]
        for weight, hidden in zip(self.weights[:0:-1], features[:0:-1], strict=True):
            cotangents.insert(0, (cotangents[0] @ weight) * (1 - np.square(hidden)))
        return Tangents(tuple(features), tuple(cotangents))

    def _activations(self, x: Array) -> list[Array]:
        found = [x]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            entering = found[-1] if len(found) == 1 else np.tanh(found[-1])
            found[-1] = entering
            found.append(entering @ weight.T + bias)
        return found


@dataclass(frozen=True, eq=False)
class Tangents:
    """Derivatives of the one output by the parameters at some rows, layer by layer.

    Attributes:
        features: phi, what enters each layer, (m, p).
        cotangents: A, the derivative of the output by what leaves it, (m, q).
    """

    features: tuple[Array, ...]
    cotangents: tuple[Array, ...]

    def kernel(self, other: "Tangents") -> Array:
        """J J'^T, (m, m'): the sum over layers of (phi phi'^T + 1) * (A A'^T).

        What `revgn.Jacobian.gram` is for one table, for two.
        """
        pairs = zip(self.features, other.features, self.cotangents, other.cotangents, strict=True)
        return np.sum([(phi @ psi.T + 1) * (a @ b.T) for phi, psi, a, b in pairs], axis=0)

    def diagonal(self) -> Array:
        """The kernel of each row with itself, (m,)."""
        pairs = zip(self.features, self.cotangents, strict=True)
        return np.sum([(np.square(phi).sum(1) + 1) * np.square(a).sum(1) for phi, a in pairs], axis=0)
