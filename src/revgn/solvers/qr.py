"""QR factorisation of the features."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.solvers.base import Solution, Solver, finite
from revgn.solvers.design import Design
from revgn.solvers.ladder import say_once
from revgn.solvers.svd import SVD


@dataclass(frozen=True)
class QR(Solver):
    """Delta = Phi^+ u by QR of Phi^T (of Phi for n > h).

    Use it for features that are ill-conditioned but of full rank: unlike through a Gram matrix the condition number
    is not squared. Features without full rank go to `SVD`. Cost: about 4 n^2 h.
    """

    def _solve(self, design: Design, target: Tensor) -> Solution:
        dense = finite(design.dense())
        q, r = torch.linalg.qr(dense.mT if design.wide else dense)  # r (m, m) with m = min(n, p)
        pivots = r.diagonal().abs()
        if pivots.min() <= max(dense.shape) * torch.finfo(r.dtype).eps * pivots.max():
            say_once("QR: the features do not have full rank; solving by SVD instead")
            return SVD().solve(design, target)
        if design.wide:
            stacked = q @ torch.linalg.solve_triangular(r.mT, target, upper=False)  # (p, k)
        else:
            stacked = torch.linalg.solve_triangular(r, q.mT @ target, upper=True)
        delta, bias = design.split(stacked)
        return Solution(delta, bias, len(r), design, target)
