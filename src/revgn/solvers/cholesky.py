"""Cholesky factorisation of the smaller Gram matrix, in float64."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.solvers.eigenvalues import Eigh
from revgn.solvers.gram import image_by_gram, through_gram
from revgn.solvers.solver import ENOUGH, Factor, Solution, Solver, State, require_tolerance, say_once

# Rows from which the factorisation of a float32 map dominates all else: n^3 / 3 beside n^2 h.
LARGE = 4096


@dataclass(frozen=True)
class Cholesky(Solver):
    """x = A^T (A A^T + lambda I)^-1 u by a Cholesky factorisation: the fastest, and the default.

    Undamped (`damping=0`) lambda is the dtype's epsilon, and the solution is refined, two products a time, while its
    measured defect exceeds 5e-4 in float32 or 1e-12 in float64. If it stays inexact the features have lost rank, and
    `Eigh` gives A^+ u instead. With a damping of your own you get the damped solution, that is a Levenberg-Marquardt
    step within the layer. For n > h the same in parameter space: least squares.
    In float32 Gram matrices of 4096 rows and more are kept and factored in float32 first, at half the time and memory;
    if refinement does not bring the measured defect to 5e-4, once more in float64.
    A factorisation that fails is tried with 100 and 10,000 times the damping, then handed to `Eigh`, then to `SVD`.
    Cost: n^2 h for the Gram matrix, n^3 / 3 to factor it; another damping costs n^3 / 3 and no new Gram matrix.

    Args:
        damping: lambda relative to the mean diagonal of the Gram matrix; 0 for none beyond rounding.
        refinements: the most steps of iterative refinement when undamped.

    Raises:
        ValueError: damping or refinements is negative or not finite.
    """

    damping: float = 0.0
    refinements: int = 3

    def __post_init__(self) -> None:
        require_tolerance("damping", self.damping)
        require_tolerance("refinements", self.refinements)

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        single = map.dtype == torch.float32 and map.wide and map.rows >= LARGE and not self.damping
        return CholeskyFactor(map, self, map.smaller_gram(torch.float32 if single else torch.float64))


@dataclass(eq=False)
class CholeskyFactor(Factor):
    """A Gram matrix, and its Cholesky factor for the damping that was asked for last."""

    solver: Cholesky
    gram: Tensor
    _root: tuple[float, Tensor] | None = None
    _spectral: Factor | None = None

    def invert(self, target: Tensor, damping: float) -> Solution:
        if self._spectral is not None and not damping:  # this map is known to have lost rank
            return self._spectral.invert(target, 0.0)
        eps = torch.finfo(self.map.dtype).eps
        # Undamped least squares (n > h) has no refinement to undo more damping: one try.
        for factor in (1.0, 1e2, 1e4) if damping or self.map.wide else (1.0,):
            ridge = factor * (damping or eps)
            root = self._cholesky(ridge)
            # Pivots of lost directions hold the rung of the ladder, and the rounding of the Gram matrix: some epsilons
            # of its diagonal.
            cut = (100 * eps + (0.0 if damping else 10 * ridge)) * self.gram.diagonal().mean()
            solution = self._solution(root, target, (root.diagonal().square() > cut).sum())
            single = self.gram.dtype == torch.float32  # what this cannot do is done in double, not with more damping
            if math.isfinite(solution.defect) or single or not torch.isfinite(self.gram.diagonal().sum()):
                return solution if damping else self._finish(solution, root)
            say_once("Cholesky: the Gram matrix is not positive definite; trying more damping, then Eigh")
        return self._by_eigenvalues(target, damping)

    def _finish(self, solution: Solution, root: Tensor) -> Solution:
        """Refine an undamped solution, and hand the problem on if the features turn out to have lost rank."""
        if self.map.wide:
            solution = self._refine(solution, root)
        trusted = solution.surjective if self.map.wide else solution.rank == self.map.columns
        if trusted:
            return solution
        if self.gram.dtype == torch.float32:
            say_once("Cholesky: single precision does not do for this large Gram matrix; forming it again in double")
            self._root = None
            self.gram = self.map.smaller_gram(torch.float64)
            return self.invert(solution.target, 0.0)
        return self._by_eigenvalues(solution.target, 0.0)

    def _by_eigenvalues(self, target: Tensor, damping: float) -> Solution:
        if self._spectral is None:
            self._root = None  # as large as the Gram matrix, and of no further use
            self._spectral = Eigh().factor_gram(self.gram, self.map)
        return self._spectral.invert(target, damping)

    def _refine(self, solution: Solution, root: Tensor) -> Solution:
        target = solution.target
        for _ in range(self.solver.refinements):
            if not solution.defect > ENOUGH[target.dtype]:
                break
            # In the map's precision: a correction that was added to the dual solution would be rounded away.
            correction = self._solution(root, target - solution.moved, None).x
            refined = Solution(self.map.add(solution.x, correction), solution.measured_rank, self.map, target)
            if not refined.defect < solution.defect:
                break
            solution = refined
        return solution

    def _cholesky(self, damping: float) -> Tensor:
        """The Cholesky factor of the Gram matrix with that much damping; NaN where it is not positive definite."""
        if self._root is None or self._root[0] != damping:
            damped = self.gram.clone()
            damped.diagonal().add_(damping * self.gram.diagonal().mean())
            info = torch.empty((), dtype=torch.int32, device=damped.device)
            root, _ = torch.linalg.cholesky_ex(damped, out=(damped, info))  # in place: large Gram matrices are large
            # Not asked here and now, which would make the host wait for the device: the defect will tell.
            root.diagonal().masked_fill_(info != 0, math.nan)
            self._root = (damping, root)
        return self._root[1]

    def _solution(self, root: Tensor, target: Tensor, rank: Tensor | None) -> Solution:
        def inverse(right: Tensor) -> Tensor:
            # Two triangular solves, as torch.cholesky_solve would copy the factor.
            half = torch.linalg.solve_triangular(root, right.to(root.dtype), upper=False)
            return torch.linalg.solve_triangular(root.mT, half, upper=True)

        x, dual = through_gram(inverse, self.map, target)
        known = image_by_gram(self.map, x, self.gram, dual) if self.map.wide else None
        return Solution(x, rank, self.map, target, known)
