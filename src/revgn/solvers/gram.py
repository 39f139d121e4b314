"""Solvers through the smaller Gram matrix, Phi Phi^T or Phi^T Phi, factored in float64: Eigh and Cholesky."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.solvers.base import ENOUGH, Solution, Solver, finite, require_tolerance
from revgn.solvers.design import Design
from revgn.solvers.ladder import say_once
from revgn.solvers.svd import SVD


@dataclass(frozen=True)
class Eigh(Solver):
    """Delta = Phi^+ u by the eigendecomposition of the Gram matrix, eigenvalues below rtol^2 w_1 dropped.

    Use it for features that lose rank, or to truncate: it gives the answer of SVD(rtol) for rtol >= 1e-3 in float32 at
    a fraction of the cost, n^2 h + 9 n^3. Falls back on `SVD` should the eigendecomposition not converge.

    Args:
        rtol: relative to the largest singular value of Phi; None: sqrt(8 eps), below which the Gram matrix holds
            rounding errors only (1e-3 in float32, 4e-8 in float64).

    Raises:
        ValueError: rtol is negative or not finite.
    """

    rtol: float | None = None

    def __post_init__(self) -> None:
        require_tolerance("rtol", self.rtol)

    def _solve(self, design: Design, target: Tensor) -> Solution:
        return self.solve_gram(finite(design.gram()), design, target)

    def solve_gram(self, gram: Tensor, design: Design, target: Tensor) -> Solution:
        """As `solve`, with the Gram matrix of the design at hand."""
        rtol = (8 * torch.finfo(target.dtype).eps) ** 0.5 if self.rtol is None else self.rtol
        try:
            w, q = torch.linalg.eigh(gram)  # ascending
        except torch.linalg.LinAlgError:
            say_once("Eigh: the eigendecomposition did not converge; solving by SVD instead")
            return SVD(rtol).solve(design, target)
        kept = (w > rtol**2 * w[-1]) & (w > 0)
        inverse = torch.where(kept, 1 / w, 0).unsqueeze(-1)
        delta, bias = _through(lambda right: q @ (inverse * (q.mT @ right)), design, target)
        return Solution(delta, bias, int(kept.sum()), design, target)


@dataclass(frozen=True)
class Cholesky(Solver):
    """Delta = Phi^T (Phi Phi^T + lambda I)^-1 u by a Cholesky factorisation: the fastest, and the default.

    Undamped (`damping=0`) lambda is the dtype's epsilon, and the solution is refined, two products a time, while
    its measured defect exceeds 5e-4 in float32 or 1e-12 in float64. If it stays inexact the features have lost rank,
    and `Eigh` gives Phi^+ u instead. With a damping of your own you get the damped solution, that is a
    Levenberg-Marquardt step within the layer. For n > h the same in parameter space: least squares.
    A factorisation that fails is tried with 100 and 10,000 times the damping, then handed to `Eigh`, then to `SVD`.
    Cost: n^2 h for the Gram matrix, n^3 / 3 to factor it.

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

    def _solve(self, design: Design, target: Tensor) -> Solution:
        gram = design.gram()
        for damping in self._dampings(design, torch.finfo(target.dtype).eps):
            factor = _factor(gram, damping)
            solution = Solution(*_apply_inverse(factor, design, target), len(gram), design, target)
            if math.isfinite(solution.defect):
                return self._finish(solution, factor, gram)
            finite(gram)
            finite(target, "target")
            say_once("Cholesky: the Gram matrix is not positive definite; trying more damping, then Eigh")
        return Eigh().solve_gram(gram, design, target)

    def _finish(self, solution: Solution, factor: Tensor, gram: Tensor) -> Solution:
        """Refine an undamped solution, and hand the problem on if the features turn out to have lost rank."""
        design, target = solution.design, solution.target
        if self.damping:
            return solution
        if design.wide:
            solution = _refine(solution, factor, self.refinements)
        trusted = solution.surjective if design.wide else _full_rank(factor, gram, target.dtype)
        return solution if trusted else Eigh().solve_gram(gram, design, target)

    def _dampings(self, design: Design, eps: float) -> tuple[float, ...]:
        """What to try in turn. Undamped least squares (n > h) has no refinement to undo more damping: one try."""
        if not self.damping and not design.wide:
            return (eps,)
        return tuple(factor * (self.damping or eps) for factor in (1.0, 1e2, 1e4))


def _factor(gram: Tensor, damping: float) -> Tensor:
    """The Cholesky factor of the Gram matrix with that much damping; NaN where it is not positive definite."""
    damped = gram.clone()
    damped.diagonal().add_(damping * gram.diagonal().mean())
    factor, info = torch.linalg.cholesky_ex(damped)
    # Not asked here and now, which would make the host wait for the device: the defect will tell.
    return torch.where(info == 0, factor, math.nan)


def _refine(solution: Solution, factor: Tensor, most: int) -> Solution:
    design, target = solution.design, solution.target
    for _ in range(most):
        if solution.defect <= ENOUGH[target.dtype]:
            break
        delta, bias = _apply_inverse(factor, design, target - solution.moved)
        bias = None if solution.bias is None or bias is None else solution.bias + bias
        refined = Solution(solution.delta + delta, bias, solution.rank, design, target)
        if not refined.defect < solution.defect:
            break
        solution = refined
    return solution


def _apply_inverse(factor: Tensor, design: Design, target: Tensor) -> tuple[Tensor, Tensor | None]:
    """A^T K^-1 u in row space, K^-1 A^T u in parameter space, given the Cholesky factor of K in float64."""
    return _through(lambda right: torch.cholesky_solve(right, factor), design, target)


def _through(inverse: Callable[[Tensor], Tensor], design: Design, target: Tensor) -> tuple[Tensor, Tensor | None]:
    """The same for any way to apply K^-1 to a matrix in float64."""
    if design.wide:
        return design.transpose(inverse(target.double()).to(target.dtype))
    right = design.stack(*design.transpose(target))
    return design.split(inverse(right.double()).to(target.dtype))


def _full_rank(factor: Tensor, gram: Tensor, dtype: torch.dtype) -> bool:
    # Pivots of lost directions hold the damping and the rounding of the Gram matrix: some epsilons of its diagonal.
    return bool(factor.diagonal().square().min() > 100 * torch.finfo(dtype).eps * gram.diagonal().mean())
