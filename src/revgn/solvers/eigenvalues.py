"""Solvers by eigenvalues of a Gram matrix: of all of A, or of its largest directions, found by a few products."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.solvers.gram import through_gram
from revgn.solvers.orthogonal import SVD
from revgn.solvers.solver import Factor, Solution, Solver, State, require_tolerance, say_once

# Directions of the first attempt to find the rank; every further one doubles them.
FIRST = 64


@dataclass(frozen=True)
class Eigh(Solver):
    """x = A^+ u by the eigendecomposition of the Gram matrix in float64, eigenvalues below rtol^2 w_1 dropped.

    Use it for features that lose rank, or to truncate: it gives the answer of SVD(rtol) for rtol >= 1e-3 in float32 at
    a fraction of the cost, n^2 h + 9 n^3. Falls back on `SVD` should the eigendecomposition not converge.

    Args:
        rtol: relative to the largest singular value of A; None: sqrt(8 eps), below which the Gram matrix holds
            rounding errors only (1e-3 in float32, 4e-8 in float64).

    Raises:
        ValueError: rtol is negative or not finite.
    """

    rtol: float | None = None

    def __post_init__(self) -> None:
        require_tolerance("rtol", self.rtol)

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        return self.factor_gram(map.smaller_gram(), map)

    def factor_gram(self, gram: Tensor, map: LinearMap) -> Factor:
        """As `factor_map`, with the map's smaller Gram matrix at hand."""
        rtol = (8 * torch.finfo(map.dtype).eps) ** 0.5 if self.rtol is None else self.rtol
        try:
            w, q = torch.linalg.eigh(gram)  # ascending
        except torch.linalg.LinAlgError:
            if not torch.isfinite(gram.diagonal().sum()):
                raise  # what is not finite has no SVD either
            say_once("Eigh: the eigendecomposition did not converge; solving by SVD instead")
            return SVD(rtol).factor_map(map, None)
        return EighFactor(map, self, w, q, _kept(w, rtol))


@dataclass(eq=False)
class EighFactor(Factor):
    """The factor K = Q diag(w) Q^T of the smaller Gram matrix: w ascending, (m,), Q (m, m), and which w are kept."""

    w: Tensor
    q: Tensor
    kept: Tensor

    def invert(self, target: Tensor, damping: float) -> Solution:
        # The trace is kept whole by rounding: the mean eigenvalue is the mean diagonal.
        ridge = damping * self.w.mean()
        x, _ = through_gram(lambda right: self.filtered(right, ridge), self.map, target)
        return Solution(x, self.kept.sum(), self.map, target)

    def filtered(self, right: Tensor, ridge: Tensor | float) -> Tensor:
        """(K + ridge I)^-1 times a matrix (m, k), on the kept directions alone."""
        return self.q @ (torch.where(self.kept, 1 / (self.w + ridge), 0).unsqueeze(-1) * (self.q.mT @ right))


@dataclass(frozen=True)
class Randomized(Solver):
    """x = (A_r)^+ u, with A_r the best approximation of rank r to A, by randomised subspace iteration.

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
        for name in ("rtol", "oversampling", "power_iterations"):
            require_tolerance(name, getattr(self, name))

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        full = min(map.rows, map.columns)
        width = min(full, FIRST if self.rank is None else self.rank + self.oversampling)
        generator = torch.Generator().manual_seed(self.seed)
        q = torch.zeros(map.rows, 0, dtype=map.dtype, device=map.device)
        while True:
            q = torch.cat((q, self._directions(map, q, width - q.shape[1], generator)), dim=1)
            back = map.stack(map.adjoint(q))  # B = A^T Q, (p, l): A is nearly Q B^T
            w, v = torch.linalg.eigh((back.mT @ back).double())  # ascending squares of singular values
            kept = _kept(w, self.rtol)
            # The range is whole when the smallest direction found is one to be dropped.
            if self.rank is not None or width == full or not kept[0]:
                break
            width = min(full, 2 * width)
        if self.rank is not None:
            kept[: -self.rank] = False
        return RandomizedFactor(map, self, w, v, kept, q, back)

    def _directions(self, map: LinearMap, known: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """An orthonormal basis, (n, count), of what A makes of random directions, apart from the known ones."""
        random = torch.randn(map.columns, count, generator=generator, dtype=known.dtype, device="cpu").to(known.device)
        found = _orthonormal(map.apply(map.split(random)), known)
        for _ in range(self.power_iterations):
            back = torch.linalg.qr(map.stack(map.adjoint(found))).Q
            found = _orthonormal(map.apply(map.split(back)), known)
        return found


@dataclass(eq=False)
class RandomizedFactor(EighFactor):
    """The factor A = Q B^T: Q is `rows` (n, l), B is `back` (p, l), and w and q belong to B^T B."""

    rows: Tensor
    back: Tensor

    def invert(self, target: Tensor, damping: float) -> Solution:
        dual = self.filtered((self.rows.mT @ target).double(), self.ridge(damping))
        return Solution(self.map.split(self.back @ dual.to(self.back.dtype)), self.kept.sum(), self.map, target)


def _kept(w: Tensor, rtol: float) -> Tensor:
    return (w > rtol**2 * w[-1]) & (w > 0)


def _orthonormal(columns: Tensor, known: Tensor) -> Tensor:
    """An orthonormal basis of the columns, orthogonal to the known ones: projected twice, as once is not enough."""
    for _ in range(2):
        columns = torch.linalg.qr(columns - known @ (known.mT @ columns)).Q
    return columns
