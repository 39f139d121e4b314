"""Singular value decomposition of the map: the reference."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.solvers.base import Factor, Solution, Solver, State, require_tolerance


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
        return SpectralFactor(map, self, u, s, vh, cut=max(rtol * float(s[0]), self.atol))


class SpectralFactor(Factor):
    """The factor A = U S V^T of a thin SVD.

    Args:
        map, solver: as `Factor`.
        u, s, vh: U (n, m), singular values (m,), descending, V^T (m, p).
        cut: singular values no larger than this are dropped.
    """

    def __init__(self, map: LinearMap, solver: Solver, u: Tensor, s: Tensor, vh: Tensor, *, cut: float) -> None:
        super().__init__(map, solver)
        self.u, self.s, self.vh = u, s, vh
        self.kept = s > cut

    def invert(self, target: Tensor, damping: float | None) -> Solution:
        ridge = (damping or 0.0) * self.s.square().mean()
        inverse = torch.where(self.kept, self.s / (self.s.square() + ridge), 0).unsqueeze(-1)
        if not damping:  # s / s^2 has lost digits that 1 / s has, and underflows sooner
            inverse = torch.where(self.kept, 1 / self.s, 0).unsqueeze(-1)
        stacked = self.vh.mT @ (inverse * (self.u.mT @ target))
        return Solution(self.map.split(stacked), self.kept.sum(), self.map, target)
