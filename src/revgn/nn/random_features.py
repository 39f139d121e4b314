"""Frozen features Phi(z): what a half-coupling is linear in."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from revgn.linear.features import Product, remember_product
from revgn.linear.sharded import beside, entrywise, part, spread_like
from revgn.nn.activations import (
    ACTIVATIONS,
    Jvp,
    find_activation,
    forward_mode,
    linearize_activation,
    on_a_copy,
    overwriting,
)


class Features(nn.Module):
    """Base class of the features of a half-coupling: any differentiable map from (n, in_features) to (n, out_features).

    A subclass calls `super().__init__(in_features, out_features)` and implements `forward`. It has no trainable
    parameters. It should override `jvp` with a closed form where speed matters (the default is forward-mode
    autodiff), and `linearize` where `forward` leaves something behind that makes the JVP cheaper.

    Where the coupling's weights are shared over T positions of a half, as in a convolution, features have n T rows,
    those of one row of the batch together; `split` and `join` then say which entries of a half belong to which of them.
    `SharedFeatures` does all this.

    Args:
        in_features: width of one half of the state, d/2.
        out_features: number of features, h.

    Attributes:
        positions: T, how often a row of the batch uses the weights; 1 here.
    """

    positions: int = 1

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, inputs: Tensor) -> Tensor:
        """Phi(z), (n T, h), for z (n, d/2)."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward: (n, d/2) -> (n, h)")

    def split(self, half: Tensor) -> Tensor:
        """The half of a state, (n, d/2), as what each use of the weights gives, (n T, d/2T)."""
        return half

    def join(self, rows: Tensor) -> Tensor:
        """The inverse of `split`."""
        return rows

    def jvp(self, inputs: Tensor, tangent: Tensor) -> Tensor:
        """The derivative of Phi at `inputs` (n, d/2) along `tangent` (n, d/2): (n T, h)."""
        return forward_mode(self, inputs, tangent)

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Jvp]:
        """Phi(z) and its derivative at z in one go: features (n T, h), and what maps a tangent of z to theirs."""
        return on_a_copy(self, inputs), partial(self.jvp, inputs)

    def product(self, inputs: Tensor) -> Product | None:
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

    def _project(self, inputs: Tensor) -> Tensor:
        return inputs if self.projection is None else beside(inputs, self.projection) @ self.projection

    def forward(self, inputs: Tensor) -> Tensor:
        if self.projection is None:  # the preactivation is the caller's own tensor, which no activation may overwrite
            features = entrywise(self.activation, inputs.clone())
        else:
            features = entrywise(overwriting(self.activation), self._project(inputs))
        product = self.product(inputs.detach())
        return features if product is None else remember_product(features, product)

    def jvp(self, inputs: Tensor, tangent: Tensor) -> Tensor:
        return self.linearize(inputs)[1](tangent)

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Jvp]:
        owned = self.projection is not None  # else the preactivation is the caller's
        projected = self._project(inputs)
        features, derivative = linearize_activation(self.activation, part(projected), owned=owned)

        def push_forward(tangent: Tensor) -> Tensor:
            return entrywise(derivative, self._project(tangent))

        return spread_like(features, projected), push_forward

    def product(self, inputs: Tensor) -> Product | None:
        return Product(inputs, self.projection) if self._linear and self.projection is not None else None

    @property
    def max_rank(self) -> int:
        return min(self.in_features, self.out_features) if self._linear else self.out_features

    @property
    def _linear(self) -> bool:
        return self.activation is ACTIVATIONS["identity"]

    def extra_repr(self) -> str:
        name = getattr(self.activation, "name", getattr(self.activation, "__name__", type(self.activation).__name__))
        return f"{super().extra_repr()}, activation={name}, bottleneck={self.projection is not None}"
