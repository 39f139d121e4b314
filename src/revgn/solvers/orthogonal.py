"""Orthogonal factorisations of the map itself: the SVD, which is the reference, and QR."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.solvers.base import Factor, Solution, Solver, State, require_tolerance, say_once


@dataclass(frozen=True)
class SVD(Solver):
    """x = A^+ u by a thin SVD, singular values below max(rtol s_1, atol) dropped.

    Use it as the reference, and for truncation below 1e-3 in float32, where the Gram matrix has no digits left.
    The authors' released setting is SVD(rtol=1e-2, atol=1e-5). Cost: about 20 n^2 h, fifty times a Gram matrix.

    Args:
        rtol: relative to the largest singular value; None: max(n, h) times the dtype's epsilon.
        atol: absolute.

    Raises:
        ValueError: a tolerance is negative or not finite.
    """

    rtol: float | None = None
    atol: float = 0.0

    def __post_init__(self) -> None:
        require_tolerance("rtol", self.rtol)
        require_tolerance("atol", self.atol)

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        # (n, m), (m,), (m, p) with m = min(n, p)
        u, s, vh = torch.linalg.svd(map.dense(), full_matrices=False)
        rtol = max(map.rows, map.columns) * torch.finfo(s.dtype).eps if self.rtol is None else self.rtol
        return SpectralFactor(map, self, u, s, vh, kept=s > (rtol * s[0]).clamp(min=self.atol))


@dataclass(eq=False)
class SpectralFactor(Factor):
    """The factor A = U S V^T: U (n, m), S (m,), V^T (m, p), and which directions are kept, (m,)."""

    u: Tensor
    s: Tensor
    vh: Tensor
    kept: Tensor

    def invert(self, target: Tensor, damping: float) -> Solution:
        ridge = damping * self.s.square().mean()
        # s / (s^2 + lambda), but undamped 1 / s to the last digit, where s^2 would underflow.
        inverse = torch.where(self.kept, 1 / (self.s + ridge / self.s), 0).unsqueeze(-1)
        stacked = self.vh.mT @ (inverse * (self.u.mT @ target))
        return Solution(self.map.split(stacked), self.kept.sum(), self.map, target)


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


@dataclass(eq=False)
class QRFactor(Factor):
    """The factor A^T = Q R of a wide map, A = Q R of a tall one, with R (m, m)."""

    q: Tensor
    r: Tensor

    def invert(self, target: Tensor, damping: float) -> Solution:
        if damping:  # the SVD of A from that of the small R answers every damping
            u, s, vh = torch.linalg.svd(self.r.mT if self.map.wide else self.r)
            u, vh = (u, vh @ self.q.mT) if self.map.wide else (self.q @ u, vh)
            return SpectralFactor(self.map, self.solver, u, s, vh, kept=s > 0).invert(target, damping)
        if self.map.wide:
            stacked = self.q @ torch.linalg.solve_triangular(self.r.mT, target, upper=False)  # (p, k)
        else:
            stacked = torch.linalg.solve_triangular(self.r, self.q.mT @ target, upper=True)
        return Solution(self.map.split(stacked), len(self.r), self.map, target)
