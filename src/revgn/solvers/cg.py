"""Block conjugate gradients: the pseudo-inverse by products with the features alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.solvers.solver import ENOUGH, Factor, Solution, Solver, State, require_tolerance, say_once


@dataclass(frozen=True)
class CG(Solver):
    """Delta = Phi^+ u by conjugate gradients on (A^T A + lambda I) Delta = A^T u, all columns of u as one block.

    Use it where no Gram matrix can be held or formed: very many rows, with `GaussNewton(chunk_rows=...)`. It starts
    from zero, so that without damping it ends in the solution of least norm. A block of k columns searches k directions
    an iteration: ill-conditioned features take about n / k iterations, well-conditioned ones few. Cost: 4 n h k an
    iteration, and a QR of (h, k).

    Args:
        tol: stop at this relative defect ||u - A Delta|| / ||u||; None: 5e-4 in float32, 1e-12 in float64. It also
            stops at the least-squares solution, which leaves a defect if the features are not surjective.
        damping: lambda relative to the mean diagonal of the smaller Gram matrix, as in `Cholesky`; 0 for none.
        max_iterations: the most iterations; reaching them is logged once and shows in the defect.

    Raises:
        ValueError: tol or damping is negative or not finite, max_iterations is below 1.

    Source: Dubrulle, Retooling the method of block conjugate gradients, ETNA 12 (2001), algorithm BCGrQ.
    """

    tol: float | None = None
    damping: float = 0.0
    max_iterations: int = 500

    def __post_init__(self) -> None:
        require_tolerance("tol", self.tol)
        require_tolerance("damping", self.damping)
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations must be at least 1, got {self.max_iterations}")

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        return CGFactor(map, self)


class CGFactor(Factor):
    """Nothing is factored: every right-hand side is iterated anew."""

    solver: CG

    def invert(self, target: Tensor, damping: float) -> Solution:
        a, most = self.map, self.solver.max_iterations
        tol = ENOUGH[a.dtype] if self.solver.tol is None else self.solver.tol
        ridge = self.ridge(damping)
        noise = 8 * torch.finfo(target.dtype).eps
        left = target.clone()  # u - A x
        # Q R = A^T u - (A^T A + lambda I) x, the residual of the normal equations: it vanishes at the minimum.
        basis, rest = torch.linalg.qr(a.stack(a.adjoint(target)))
        whole_left, whole_rest = _norm(left), _norm(rest)
        directions, stacked = basis, torch.zeros_like(basis @ rest)
        for _ in range(most):
            turn, rest = _deflate(rest, (tol if damping else noise) * whole_rest)
            basis, directions = basis @ turn, directions @ turn
            if len(rest) == 0 or (not damping and _norm(left) <= tol * whole_left):
                break
            moved, back = a.there_and_back(a.split(directions))
            curved = a.stack(back) + ridge * directions  # (A^T A + lambda I) P
            curvature = moved.mT.double() @ moved.double() + ridge * (directions.mT @ directions)
            inverse = torch.linalg.pinv(curvature, hermitian=True).to(target.dtype)
            step = inverse @ rest
            stacked += directions @ step
            left -= moved @ step
            basis, turn = torch.linalg.qr(basis - curved @ inverse)
            directions = basis + directions @ turn.mT
            rest = turn @ rest
        else:
            say_once(f"CG: not converged in {most} iterations; the defect tells how far it came")
        # How many directions it took says nothing sure of the rank: an iteration may need more than there are.
        return Solution(a.split(stacked), None, a, target)


def _norm(matrix: Tensor) -> float:
    return float(torch.linalg.vector_norm(matrix, dtype=torch.float64))


def _deflate(rest: Tensor, cut: float) -> tuple[Tensor, Tensor]:
    """A rotation of the directions after which those with no more residual than `cut` could be, and are, left out."""
    u, s, vh = torch.linalg.svd(rest.double(), full_matrices=False)
    kept = int((s > cut).sum())
    return u[:, :kept].to(rest.dtype), (s[:kept, None] * vh[:kept]).to(rest.dtype)
