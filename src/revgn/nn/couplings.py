"""Half-couplings: the layers that are linear in their own parameters."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revgn import linear
from revgn.nn.features import Features, RandomFeatures


@dataclass(frozen=True, eq=False)
class Point:
    """A coupling at one input z: [Phi(z), 1], all rows at once or a chunk at a time, and the derivative of Phi.

    `jvp(rows, tangent)` maps the tangent of z at one of the map's slices of rows to that of Phi(z), (., h).
    """

    map: linear.Features
    jvp: Callable[[slice, Tensor], Tensor]


class Coupling(nn.Module):
    """One half-coupling: z -> [Phi(z), 1] W, linear in W, its only trainable part.

    Args:
        features: Phi, from (n, d/2) to (n, h).
        bias: whether W has a bias row.
        init_std: W starts at N(0, init_std^2), the bias row included.
        generator: source of W; torch's global one when None.
        device, dtype: of W.

    Raises:
        ValueError: init_std is negative.
    """

    linear: nn.Linear

    def __init__(
        self,
        features: Features,
        *,
        bias: bool = True,
        init_std: float = 1e-3,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not init_std >= 0:
            raise ValueError(f"init_std must not be negative, got {init_std}")
        self.features = features
        # Made without values: torch's own initialisation would draw random numbers only to be overwritten.
        linear = nn.Linear(features.out_features, features.in_features, bias=bias, device="meta", dtype=dtype)
        self.linear = linear.to_empty(device=device or torch.get_default_device())
        for parameter in self.linear.parameters():
            nn.init.normal_(parameter, std=init_std, generator=generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """The shift of the other half, (n, d/2)."""
        return self.linear(self._features(inputs))

    def linearize(self, inputs: Tensor, chunk_rows: int | None = None) -> Point:
        """The point z at which `shift` and `jvp` work; with chunk_rows no more rows of features than that are held."""
        if chunk_rows is None:
            features, push_forward = self.features.linearize(inputs)
            whole = linear.Features.of(features, bias=self.bias, product=self.features.product(inputs))
            return Point(whole, lambda _, tangent: push_forward(tangent))

        def chunk(rows: slice) -> Tensor:
            return self._features(inputs[rows])

        streamed = linear.Features.streamed(chunk, len(inputs), chunk_rows, like=self.linear.weight, bias=self.bias)
        return Point(streamed, lambda rows, tangent: self.features.jvp(inputs[rows], tangent))

    def shift(self, at: Point) -> Tensor:
        """[Phi(z), 1] W, (n, d/2), as `forward` gives it."""
        return _join([self.linear(at.map.chunk(rows)) for rows in at.map.slices])

    def jvp(self, at: Point, tangent: Tensor) -> Tensor:
        """J[t] W, (n, d/2): the derivative of the shift along a tangent of z, (n, d/2)."""
        weight = self.linear.weight
        return _join([nn.functional.linear(at.jvp(rows, tangent[rows]), weight) for rows in at.map.slices])

    @property
    def bias(self) -> bool:
        """Whether the weights have a bias row."""
        # Not what the constructor was told: a bias can be taken out or put in.
        return getattr(self.linear, "bias", None) is not None

    def _features(self, inputs: Tensor) -> Tensor:
        # The state goes on from here: features of a user's own that work in place get a copy of it.
        return self.features(inputs if isinstance(self.features, RandomFeatures) else inputs.clone())

    @property
    def max_rank(self) -> int:
        """A bound, known from the structure alone, on the rank of [Phi(z), 1]."""
        return self.features.max_rank + self.bias


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
