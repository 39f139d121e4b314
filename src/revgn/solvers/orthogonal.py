"""Orthogonal factorisations of the map itself: the SVD, which is the reference, and QR."""

import functools
from dataclasses import dataclass, field

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.solvers.solver import Factor, Solution, Solver, State, require_tolerance, say_once


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
    is not squared. Features without full rank are solved by the SVD of the small R. Cost: about 4 n^2 h, and for each
    damping 3 n^3 more, with n the smaller size.
    """

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        dense = map.dense()
        return QRFactor(map, self, *torch.linalg.qr(dense.mT if map.wide else dense))


@dataclass(eq=False)
class QRFactor(Factor):
    """The factor A^T = Q R of a wide map, A = Q R of a tall one, with R (m, m)."""

    q: Tensor
    r: Tensor
    _latest: tuple[float, Tensor, Tensor] | None = field(default=None, init=False, repr=False)

    @functools.cached_property
    def _small(self) -> SpectralFactor | None:
        """The SVD of A from that of R where A has not full rank, else None."""
        cutoff = max(self.map.rows, self.map.columns) * torch.finfo(self.r.dtype).eps
        pivots = self.r.diagonal().abs()
        if pivots.min() > cutoff * pivots.max():
            return None
        say_once("QR: the features do not have full rank; solving by SVD instead")
        u, s, vh = torch.linalg.svd(self.r.mT if self.map.wide else self.r)
        u, vh = (u, vh @ self.q.mT) if self.map.wide else (self.q @ u, vh)
        return SpectralFactor(self.map, self.solver, u, s, vh, kept=s > cutoff * s[0])

    def invert(self, target: Tensor, damping: float) -> Solution:
        if damping:
            return self._damped(target, damping)
        if self._small is not None:
            return self._small.invert(target, damping)
        if self.map.wide:
            stacked = self.q @ torch.linalg.solve_triangular(self.r.mT, target, upper=False)  # (p, k)
        else:
            stacked = torch.linalg.solve_triangular(self.r, self.q.mT @ target, upper=True)
        return Solution(self.map.split(stacked), len(self.r), self.map, target)

    def _damped(self, target: Tensor, damping: float) -> Solution:
        p, t = self._stacked(damping)
        if self.map.wide:  # A^T (A A^T + lambda I)^-1 u = Q R T^-1 T^-T u, and R T^-1 = P
            stacked = self.q @ (p @ torch.linalg.solve_triangular(t.mT, target, upper=False))
        else:
            stacked = torch.linalg.solve_triangular(t, p.mT @ (self.q.mT @ target), upper=True)
        return Solution(self.map.split(stacked), len(self.r), self.map, target)

    def _stacked(self, damping: float) -> tuple[Tensor, Tensor]:
        """[R; sqrt(lambda) I] = [P; .] T, of full rank whatever R is: R^T R + lambda I = T^T T, never formed."""
        if self._latest is None or self._latest[0] != damping:
            size = len(self.r)
            root = torch.linalg.vector_norm(self.r) * (damping / size) ** 0.5  # lambda is relative to ||A||^2 / m
            ridge = root * torch.eye(size, dtype=self.r.dtype, device=self.r.device)
            p, t = torch.linalg.qr(torch.cat((self.r, ridge)))  # (2 m, m), (m, m)
            self._latest = damping, p[:size].clone(), t  # a step with a correction asks twice for the same
        return self._latest[1:]
