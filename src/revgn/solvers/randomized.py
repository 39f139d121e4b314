"""Randomised truncation: the largest singular directions of the features, found by a few products."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.solvers.base import Factor, Solution, Solver, State, require_tolerance

# Directions of the first attempt to find the rank; every further one doubles them.
FIRST = 64


@dataclass(frozen=True)
class Randomized(Solver):
    """Delta = (A_r)^+ u, with A_r the best approximation of rank r to A = [Phi, 1], by randomised subspace iteration.

    Use it to truncate where few directions are kept: it approaches SVD(rtol) at 2 + 2 q products with as many columns
    as directions. Singular values near the cut are the least accurate; more power iterations sharpen them.
    Cost: about (4 + 4 q) n h l for l directions, q power iterations; adaptive rank up to twice that.

    Args:
        rank: the most directions kept; None: as many as rtol leaves, found by doubling.
        rtol: singular values below rtol s_1 are dropped.
        oversampling: directions searched beyond the rank.
        power_iterations: q.
        seed: of the random directions; the same every time.

    Raises:
        ValueError: rank below 1, rtol, oversampling or power_iterations negative or not finite.

    Source: Halko, Martinsson, Tropp, SIAM Review 53 (2011), algorithms 4.4 and 5.1; adaptive rank as in section 4.4.
    """

    rank: int | None = None
    rtol: float = 1e-2
    oversampling: int = 10
    power_iterations: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank must be at least 1, or None to find it by rtol; got {self.rank}")
        require_tolerance("rtol", self.rtol)
        require_tolerance("oversampling", self.oversampling)
        require_tolerance("power_iterations", self.power_iterations)

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        full = min(map.rows, map.columns)
        width = min(full, FIRST if self.rank is None else self.rank + self.oversampling)
        generator = torch.Generator().manual_seed(self.seed)
        q = torch.zeros(map.rows, 0, dtype=map.dtype, device=map.device)
        while True:
            q = torch.cat((q, self._directions(map, q, width - q.shape[1], generator)), dim=1)
            back = map.stack(map.adjoint(q))  # B = A^T Q, (p, l): A is nearly Q B^T
            w, v = torch.linalg.eigh((back.mT @ back).double())  # ascending squares of singular values
            kept = (w > self.rtol**2 * w[-1]) & (w > 0)
            # The range is whole when the smallest direction found is one to be dropped.
            if self.rank is not None or width == full or not kept[0]:
                break
            width = min(full, 2 * width)
        if self.rank is not None:
            kept[: -self.rank] = False
        return RandomizedFactor(map, self, q, back, w, v, kept)

    def _directions(self, map: LinearMap, known: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """An orthonormal basis, (n, count), of what A makes of random directions, apart from the known ones."""
        random = torch.randn(map.columns, count, generator=generator, dtype=known.dtype, device="cpu").to(known.device)
        found = _orthonormal(map.apply(map.split(random)), known)
        for _ in range(self.power_iterations):
            back = torch.linalg.qr(map.stack(map.adjoint(found))).Q
            found = _orthonormal(map.apply(map.split(back)), known)
        return found


class RandomizedFactor(Factor):
    """The factor A = Q B^T, with B = A^T Q and B^T B = V diag(w) V^T.

    Args:
        map, solver: as `Factor`.
        q, back, w, v: Q (n, l), B (p, l), w (l,), V (l, l).
        kept: which of the w are not dropped, (l,).
    """

    def __init__(
        self, map: LinearMap, solver: Solver, q: Tensor, back: Tensor, w: Tensor, v: Tensor, kept: Tensor
    ) -> None:
        super().__init__(map, solver)
        self.q, self.back, self.w, self.v, self.kept = q, back, w, v, kept

    def invert(self, target: Tensor, damping: float | None) -> Solution:
        ridge = damping * self.map.squared_norm() / min(self.map.rows, self.map.columns) if damping else 0.0
        inverse = torch.where(self.kept, 1 / (self.w + ridge), 0).unsqueeze(-1)
        dual = self.v @ (inverse * (self.v.mT @ (self.q.mT @ target).double()))  # V S^-2 V^T Q^T u
        x = self.map.split(self.back @ dual.to(self.back.dtype))
        return Solution(x, self.kept.sum(), self.map, target)


def _orthonormal(columns: Tensor, known: Tensor) -> Tensor:
    """An orthonormal basis of the columns, orthogonal to the known ones: projected twice, as once is not enough."""
    for _ in range(2):
        columns = torch.linalg.qr(columns - known @ (known.mT @ columns)).Q
    return columns
