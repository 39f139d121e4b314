"""Frozen features Phi(z): what a half-coupling is linear in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from revgn.nn.activations import ACTIVATIONS, Jvp, find_activation, linearize_activation


@dataclass(frozen=True, eq=False)
class Factor:
    """Phi = Z V of features that are linear in their inputs: no rank beyond the width k of Z.

    Attributes:
        rows: Z, (n, k).
        basis: V, (k, h).
    """

    rows: Tensor
    basis: Tensor


@dataclass(frozen=True, eq=False)
class Linearization:
    """Features at one input, with their derivative there.

    Attributes:
        features: Phi(z), (n, h).
        jvp: maps a tangent of z, (n, d/2), to the tangent of Phi(z), (n, h).
        factor: the features as a product, where they are one.
    """

    features: Tensor
    jvp: Jvp
    factor: Factor | None = None

    @property
    def shape(self) -> torch.Size:
        """Rows and features, (n, h)."""
        return self.features.shape

    @property
    def slices(self) -> Sequence[slice]:
        """The rows, in the portions in which `at` has them: all at once."""
        return (slice(0, len(self.features)),)

    def at(self, rows: slice) -> "Linearization":
        """The same at one of the `slices` of rows."""
        return self

    def block(self, rows: slice) -> Tensor:
        """The features at one of the `slices` of rows."""
        return self.features


@dataclass(frozen=True, eq=False)
class StreamedLinearization:
    """As `Linearization`, but the features are made a chunk of rows at a time, whenever they are asked for.

    Nothing larger than a chunk by h is ever held. What is paid for that is that features are made again on every use.

    Attributes:
        source: the features as a module.
        inputs: z, (n, d/2).
        chunk_rows: the most rows in a chunk.
    """

    source: "Features"
    inputs: Tensor
    chunk_rows: int

    @property
    def shape(self) -> torch.Size:
        """Rows and features, (n, h)."""
        return torch.Size((len(self.inputs), self.source.out_features))

    @property
    def slices(self) -> Sequence[slice]:
        """The rows, in the portions in which `at` has them."""
        n = len(self.inputs)
        return [slice(start, min(start + self.chunk_rows, n)) for start in range(0, n, self.chunk_rows)]

    @property
    def factor(self) -> Factor | None:
        """The features as a product, where they are one."""
        return self.source.factor(self.inputs)

    def at(self, rows: slice) -> Linearization:
        """Features and their derivative at one of the `slices` of rows."""
        return self.source.linearize(self.inputs[rows])

    def block(self, rows: slice) -> Tensor:
        """The features at one of the `slices` of rows."""
        return self.source(self.inputs[rows])


class Features(nn.Module):
    """Base class of the features of a half-coupling: any differentiable map from (n, in_features) to (n, out_features).

    A subclass calls `super().__init__(in_features, out_features)` and implements `forward`. It has no trainable
    parameters. It should override `jvp` with a closed form where speed matters (the default is forward-mode
    autodiff), and `linearize` where `forward` leaves something behind that makes the JVP cheaper.

    Args:
        in_features: width of one half of the state, d/2.
        out_features: number of features, h.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, inputs: Tensor) -> Tensor:
        """Phi(z), (n, h), for z (n, d/2)."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward: (n, d/2) -> (n, h)")

    def jvp(self, inputs: Tensor, tangent: Tensor) -> Tensor:
        """The derivative of Phi at `inputs` (n, d/2) along `tangent` (n, d/2): (n, h)."""
        return torch.func.jvp(self.forward, (inputs,), (tangent,))[1]

    def linearize(self, inputs: Tensor) -> Linearization:
        """Phi(z) and its derivative at z in one go."""
        return Linearization(self(inputs), partial(self.jvp, inputs), self.factor(inputs))

    def factor(self, inputs: Tensor) -> Factor | None:
        """Phi(z) as a product of two narrower matrices, if the structure is such; None in general."""
        return None

    @property
    def max_rank(self) -> int:
        """A bound, known from the structure alone, on the rank of Phi(z) for any number of rows."""
        return self.out_features

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"


class RandomFeatures(Features):
    """Phi(z) = act(z V) with V frozen, Gaussian, scaled by 1 / sqrt(h); without a bottleneck Phi(z) = act(z).

    These are the features of the authors' RevMLP (Buffelli et al. 2024), where V is their inverted bottleneck.

    Args:
        in_features: d/2.
        hidden_features: h; None for no bottleneck, then h = d/2 and `projection` is None.
        activation: a name (identity, relu, leaky_relu, tanh, gelu, silu, softplus, sin), whose JVP is in closed form,
            or any callable, whose JVP is by forward-mode autodiff.
        generator: source of V; torch's global one when None.
        device, dtype: of V.

    Raises:
        ValueError: sizes below 1, or an unknown activation.
    """

    projection: Tensor | None

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        *,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        out_features = in_features if hidden_features is None else hidden_features
        if in_features < 1 or out_features < 1:
            raise ValueError(f"features need at least one input and one output, got {in_features} and {out_features}")
        super().__init__(in_features, out_features)
        self.activation = find_activation(activation)
        projection = None
        if hidden_features is not None:
            projection = torch.randn(in_features, hidden_features, generator=generator, device=device, dtype=dtype)
            projection /= hidden_features**0.5
        self.register_buffer("projection", projection)

    def _preactivation(self, inputs: Tensor) -> Tensor:
        return inputs if self.projection is None else inputs @ self.projection

    def forward(self, inputs: Tensor) -> Tensor:
        return self.activation(self._preactivation(inputs))

    def jvp(self, inputs: Tensor, tangent: Tensor) -> Tensor:
        return self.linearize(inputs).jvp(tangent)

    def linearize(self, inputs: Tensor) -> Linearization:
        # Without a projection the preactivation is the caller's own tensor.
        owned = self.projection is not None
        features, derivative = linearize_activation(self.activation, self._preactivation(inputs), owned=owned)
        return Linearization(features, partial(self._push_forward, derivative), self.factor(inputs))

    def factor(self, inputs: Tensor) -> Factor | None:
        return Factor(inputs, self.projection) if self._linear and self.projection is not None else None

    def _push_forward(self, derivative: Jvp, tangent: Tensor) -> Tensor:
        return derivative(self._preactivation(tangent))

    @property
    def max_rank(self) -> int:
        return min(self.in_features, self.out_features) if self._linear else self.out_features

    @property
    def _linear(self) -> bool:
        return self.activation is ACTIVATIONS["identity"]

    def extra_repr(self) -> str:
        name = getattr(self.activation, "name", getattr(self.activation, "__name__", type(self.activation).__name__))
        return f"{super().extra_repr()}, activation={name}, bottleneck={self.projection is not None}"
