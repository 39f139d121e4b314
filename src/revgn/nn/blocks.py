"""Reversible layers: invertible maps of the state through which tangents go backwards."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from revgn.nn.activations import forward_mode
from revgn.nn.couplings import Coupling, Point


class ReversibleLayer(nn.Module):
    """Base class of the layers of a `ReversibleNetwork`: an invertible map of the state, (n, d) to (n, d).

    A layer without parameters (a permutation, an invertible activation, ...) implements `forward` and `inverse`,
    nothing else. Layers with parameters are `ReversibleBlock`s, and a new kind of them is a new kind of `Features`.
    """

    def forward(self, state: Tensor) -> Tensor:
        """The layer's output, (n, d)."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward: (n, d) -> (n, d)")

    def inverse(self, state: Tensor) -> Tensor:
        """The input that gave the output `state`, (n, d)."""
        raise NotImplementedError(f"{type(self).__name__} must implement inverse: (n, d) -> (n, d)")

    def linearize(self, state: Tensor, chunk_rows: int | None = None) -> tuple[Tensor, Any]:
        """The output, and the point at which `pull_back` works; chunk_rows bounds the rows whose features are held."""
        outputs = self(state)
        return outputs, outputs

    def unwind(self, state: Tensor, chunk_rows: int | None = None) -> tuple[Tensor, Any]:
        """As `linearize`, but from the output: the input, and the point."""
        return self.inverse(state), state

    @property
    def couplings(self) -> tuple[Coupling, ...]:
        """The half-couplings, which hold all trainable parameters; none here."""
        return ()

    @property
    def max_rank(self) -> int:
        """A bound, known from the structure alone, on the rows n for which the layer's parameters are surjective."""
        return min((coupling.max_rank // coupling.positions for coupling in self.couplings), default=0)

    def pull_back(self, at: Any, tangent: Tensor) -> Tensor:
        """The tangent of the input, (n, d), that becomes `tangent` at the output; by forward-mode autodiff here."""
        return forward_mode(self.inverse, at, tangent)


class BlockPoint(NamedTuple):
    """The features of both half-couplings of a block at one state."""

    f: Point
    g: Point


class ReversibleBlock(ReversibleLayer):
    """Additive coupling: a' = a + f(b), b' = b + g(a'), for the two halves a, b of the state.

    Its inverse is exact by construction: b = b' - g(a'), a = a' - f(b).

    Args:
        f, g: the half-couplings.
    """

    def __init__(self, f: Coupling, g: Coupling) -> None:
        super().__init__()
        self.f, self.g = f, g

    def forward(self, state: Tensor) -> Tensor:
        a, b = halves(state)
        a = a + self.f(b)
        b = b + self.g(a)
        return torch.cat((a, b), dim=-1)

    def inverse(self, state: Tensor) -> Tensor:
        a, b = halves(state)
        b = b - self.g(a)
        a = a - self.f(b)
        return torch.cat((a, b), dim=-1)

    def linearize(self, state: Tensor, chunk_rows: int | None = None) -> tuple[Tensor, BlockPoint]:
        a, b = halves(state)
        f = self.f.linearize(b, chunk_rows)
        a = a + self.f.shift(f)
        g = self.g.linearize(a, chunk_rows)
        b = b + self.g.shift(g)
        return torch.cat((a, b), dim=-1), BlockPoint(f, g)

    def unwind(self, state: Tensor, chunk_rows: int | None = None) -> tuple[Tensor, BlockPoint]:
        a, b = halves(state)
        g = self.g.linearize(a, chunk_rows)
        b = b - self.g.shift(g)
        f = self.f.linearize(b, chunk_rows)
        a = a - self.f.shift(f)
        return torch.cat((a, b), dim=-1), BlockPoint(f, g)

    def pull_back(self, at: BlockPoint, tangent: Tensor) -> Tensor:
        ta, tb = halves(tangent)
        tb = tb - self.g.jvp(at.g, ta)
        ta = ta - self.f.jvp(at.f, tb)
        return torch.cat((ta, tb), dim=-1)

    @property
    def couplings(self) -> tuple[Coupling, ...]:
        return self.f, self.g


def halves(state: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves (a, b) of a state or of its tangent, each (n, d/2)."""
    a, b = state.chunk(2, dim=-1)
    return a, b
