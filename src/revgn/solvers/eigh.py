"""Eigendecomposition of the smaller Gram matrix, in float64."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.solvers.base import Factor, Solution, Solver, State, require_tolerance
from revgn.solvers.gram import through_gram
from revgn.solvers.ladder import say_once
from revgn.solvers.svd import SVD


@dataclass(frozen=True)
class Eigh(Solver):
    """x = A^+ u by the eigendecomposition of the Gram matrix, eigenvalues below rtol^2 w_1 dropped.

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
        """As `factor`, with the map's smaller Gram matrix at hand."""
        rtol = (8 * torch.finfo(map.dtype).eps) ** 0.5 if self.rtol is None else self.rtol
        try:
            w, q = torch.linalg.eigh(gram)  # ascending
        except torch.linalg.LinAlgError:
            if not torch.isfinite(gram.diagonal().sum()):
                raise  # what is not finite has no SVD either
            say_once("Eigh: the eigendecomposition did not converge; solving by SVD instead")
            return SVD(rtol).factor_map(map, None)
        return EighFactor(map, self, w, q, rtol)


class EighFactor(Factor):
    """The factor K = Q diag(w) Q^T of the smaller Gram matrix.

    Args:
        map, solver: as `Factor`.
        w, q: eigenvalues (m,), ascending, and eigenvectors (m, m), float64.
        rtol: eigenvalues up to rtol^2 w_1 are dropped.
    """

    def __init__(self, map: LinearMap, solver: Solver, w: Tensor, q: Tensor, rtol: float) -> None:
        super().__init__(map, solver)
        self.w, self.q = w, q
        self.kept = (w > rtol**2 * w[-1]) & (w > 0)

    def invert(self, target: Tensor, damping: float | None) -> Solution:
        # The trace is kept whole by rounding: the mean eigenvalue is the mean diagonal.
        ridge = (damping or 0.0) * self.w.mean()
        inverse = torch.where(self.kept, 1 / (self.w + ridge), 0).unsqueeze(-1)
        x = through_gram(lambda right: self.q @ (inverse * (self.q.mT @ right)), self.map, target)
        return Solution(x, self.kept.sum(), self.map, target)
