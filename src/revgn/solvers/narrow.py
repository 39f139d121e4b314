"""Designs whose structure bounds their rank below their rows: solved at the width where nothing is lost."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.solvers.design import Design, Whole


@dataclass(frozen=True, eq=False)
class Narrowed:
    """The design [Z C, 1] in place of [Z V, 1], for V = C Q with C (k, k) and orthonormal rows Q.

    Both have the same singular values, and [Z V, 1]^+ = diag(Q^T, 1) [Z C, 1]^+.

    Attributes:
        design: [Z C, 1], (n, k + 1).
    """

    design: Design
    _basis: Tensor
    _root: Tensor

    def widen(self, delta: Tensor) -> Tensor:
        """Q^T Delta, (h, m), for Delta (k, m), transposed in memory as a layer's weight is."""
        dual = torch.linalg.solve_triangular(self._root.mT, delta, upper=True)  # C^-T Delta
        return (dual.mT @ self._basis).mT


def narrowed(design: Design) -> Narrowed | None:
    """The narrower design, if the features are linear in fewer inputs than there are rows; None otherwise."""
    factor = design.features.factor
    if factor is None:
        return None
    k, h = factor.basis.shape
    if k + design.bias >= design.rows or k >= h:
        return None
    root, info = torch.linalg.cholesky_ex(Design.of(factor.basis).gram())  # C C^T = V V^T
    if info != 0:
        return None
    root = root.to(factor.rows.dtype)
    return Narrowed(Design(Whole(factor.rows @ root), design.bias), factor.basis, root)
