"""Half-couplings: the layers that are linear in their own parameters."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revgn import linear
from revgn.linear.features import joined
from revgn.linear.sharded import whole
from revgn.nn.random_features import Features, RandomFeatures


@dataclass(frozen=True, eq=False)
class Point:
    """A coupling at one input z: [Phi(z), 1], all rows at once or a chunk at a time, and the derivative of Phi.

    `jvp(rows, tangent)` maps the tangent of z at the rows of the batch that make one chunk to that of Phi(z), (., h).
    """

    map: linear.Features
    jvp: Callable[[slice, Tensor], Tensor]


class Coupling(nn.Module):
    """One half-coupling: z -> [Phi(z), 1] W, linear in W, its only trainable part.

    With features of T positions W, (h + 1, d/2T), is used at each of them, and [Phi(z), 1] has n T rows.

    Args:
        features: Phi, from (n, d/2) to (n, h), or to (n T, h) with weights that are shared over positions.
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
        width = features.in_features // features.positions
        linear = nn.Linear(features.out_features, width, bias=bias, device="meta", dtype=dtype)
        self.linear = linear.to_empty(device=device or torch.get_default_device())
        for parameter in self.linear.parameters():
            nn.init.normal_(parameter, std=init_std, generator=generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """The shift of the other half, (n, d/2)."""
        return self.features.join(whole(self.linear(self._features(inputs))))

    def linearize(self, inputs: Tensor, chunk_rows: int | None = None) -> Point:
        """The point z at which `shift` and `jvp` work; chunk_rows bounds the rows whose features are held at once."""
        if chunk_rows is None:
            features, push_forward = self.features.linearize(inputs)
            map = linear.Features.of(features, bias=self.bias, product=self.features.product(inputs))
            return Point(map, lambda _, tangent: push_forward(tangent))

        def chunk(rows: slice) -> Tensor:
            return self._features(inputs[self._of_batch(rows)])

        sizes = self.positions * len(inputs), self.positions * chunk_rows
        streamed = linear.Features.streamed(chunk, *sizes, like=self.linear.weight, bias=self.bias)
        return Point(streamed, lambda rows, tangent: self.features.jvp(inputs[rows], tangent))

    def shift(self, at: Point) -> Tensor:
        """[Phi(z), 1] W, (n, d/2), as `forward` gives it."""
        return joined([self.features.join(whole(self.linear(at.map.chunk(rows)))) for rows in at.map.slices])

    def jvp(self, at: Point, tangent: Tensor) -> Tensor:
        """J[t] W, (n, d/2): the derivative of the shift along a tangent of z, (n, d/2)."""
        chunks = [self._of_batch(rows) for rows in at.map.slices]
        moved = [whole(nn.functional.linear(at.jvp(rows, tangent[rows]), self.linear.weight)) for rows in chunks]
        return joined([self.features.join(part) for part in moved])

    @property
    def positions(self) -> int:
        """T, how often a row of the batch uses the weights: [Phi(z), 1] has n T rows."""
        return self.features.positions

    @property
    def bias(self) -> bool:
        """Whether the weights have a bias row."""
        # Not what the constructor was told: a bias can be taken out or put in.
        return getattr(self.linear, "bias", None) is not None

    def _of_batch(self, rows: slice) -> slice:
        """The rows of the batch whose features are these rows of the map, one of its slices."""
        return slice(rows.start // self.positions, rows.stop // self.positions)

    def _features(self, inputs: Tensor) -> Tensor:
        # The state goes on from here: features of a user's own that work in place get a copy of it.
        return self.features(inputs if isinstance(self.features, RandomFeatures) else inputs.clone())

    @property
    def max_rank(self) -> int:
        """A bound, known from the structure alone, on the rank of [Phi(z), 1]."""
        return self.features.max_rank + self.bias
