"""Singular value decomposition of the features: the reference."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.solvers.base import Solution, Solver, finite, require_tolerance
from revgn.solvers.design import Design


@dataclass(frozen=True)
class SVD(Solver):
    """Delta = Phi^+ u by a thin SVD, singular values below max(rtol s_1, atol) dropped.

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

    def _solve(self, design: Design, target: Tensor) -> Solution:
        u, s, vh = torch.linalg.svd(
            finite(design.dense()), full_matrices=False
        )  # (n, m), (m,), (m, p) with m = min(n, p)
        rtol = max(design.rows, design.columns) * torch.finfo(s.dtype).eps if self.rtol is None else self.rtol
        kept = s > max(rtol * float(s[0]), self.atol)
        inverse = torch.where(kept, 1 / s, 0).unsqueeze(-1)
        delta, bias = design.split(vh.mT @ (inverse * (u.mT @ target)))
        return Solution(delta, bias, int(kept.sum()), design, target)
