"""QR factorisation of the map."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.solvers.base import Factor, Solution, Solver, State
from revgn.solvers.ladder import say_once
from revgn.solvers.svd import SVD, SpectralFactor


@dataclass(frozen=True)
class QR(Solver):
    """x = A^+ u by QR of A^T (of A for n > h).

    Use it for features that are ill-conditioned but of full rank: unlike through a Gram matrix the condition number
    is not squared. Features without full rank go to `SVD`. Cost: about 4 n^2 h.
    """

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        dense = map.dense()
        q, r = torch.linalg.qr(dense.mT if map.wide else dense)  # r (m, m) with m = min(n, p)
        pivots = r.diagonal().abs()
        if pivots.min() <= max(dense.shape) * torch.finfo(r.dtype).eps * pivots.max():
            say_once("QR: the features do not have full rank; solving by SVD instead")
            return SVD().factor_map(map, state)
        return QRFactor(map, self, q, r)


class QRFactor(Factor):
    """The factor A^T = Q R of a wide map, A = Q R of a tall one.

    Args:
        map, solver: as `Factor`.
        q, r: Q with orthonormal columns, R (m, m).
    """

    def __init__(self, map: LinearMap, solver: Solver, q: Tensor, r: Tensor) -> None:
        super().__init__(map, solver)
        self.q, self.r = q, r

    def invert(self, target: Tensor, damping: float | None) -> Solution:
        if damping:
            return self._spectral().invert(target, damping)
        if self.map.wide:
            stacked = self.q @ torch.linalg.solve_triangular(self.r.mT, target, upper=False)  # (p, k)
        else:
            stacked = torch.linalg.solve_triangular(self.r, self.q.mT @ target, upper=True)
        return Solution(self.map.split(stacked), len(self.r), self.map, target)

    def _spectral(self) -> SpectralFactor:
        """The SVD of A from that of the small R: it answers every damping."""
        u, s, vh = torch.linalg.svd(self.r)
        if self.map.wide:  # A = R^T Q^T = V S (Q U)^T
            return SpectralFactor(self.map, self.solver, vh.mT, s, (self.q @ u).mT, cut=0.0)
        return SpectralFactor(self.map, self.solver, self.q @ u, s, vh, cut=0.0)
