"""The theoretical Gauss-Newton step, with the pseudo-inverse of the full Jacobian: the oracle for small problems."""

from typing import Any

from torch import nn

from revgn.losses import GaussNewtonLoss
from revgn.optim.gauss_newton import GaussNewton as AnyGaussNewton
from revgn.right_inverses import MoorePenrose
from revgn.solvers import SVD, Solver


class GaussNewton(AnyGaussNewton):
    """theta <- theta - lr (J^T H J)^+ J^T grad by an SVD of the whole H^(1/2) J; J^+ r for H = I.

    `revgn.GaussNewton` with the right inverse `MoorePenrose` and the solver `SVD`: the most accurate, at
    O(N P min(N, P)) time and O(N P) memory for N = n d_out and P parameters; beyond some 1e8 entries of J leave the
    solver out.

    Args:
        model, loss, lr, options: as in `revgn.GaussNewton`.
        solver: None: `SVD()`. `Cholesky(damping=...)` makes it a Levenberg-Marquardt step of fixed damping.
    """

    def __init__(
        self, model: nn.Module, loss: GaussNewtonLoss, lr: float = 1.0, *, solver: Solver | None = None, **options: Any
    ) -> None:
        solver = SVD() if solver is None else solver
        super().__init__(model, loss, lr, right_inverse=MoorePenrose(), solver=solver, **options)
