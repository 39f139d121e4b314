"""Preconditioned conjugate gradients in row space: for tangent kernels too large to be held."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from revgn.linear import LinearMap, Weighted
from revgn.solvers.base import ENOUGH, Factor, Solution, Solver, State
from revgn.solvers.ladder import say_once

# Beginnings anew from the true residual.
RESTARTS = 2


@dataclass(frozen=True)
class KernelCG(Solver):
    """x = A^T v with A A^T v = u by conjugate gradients, a JVP and a backward pass an iteration.

    What `MoorePenrose` takes where K does not fit into memory. For a `Jacobian` it is preconditioned by the mean over
    outputs of K's diagonal blocks, an n x n matrix that stands for all outputs. It stops at a relative residual of
    1e-12 in float64, 5e-4 in float32, or after `max_iterations`.

    Args:
        size: what the kernel would have taken, for the log.
        max_iterations: the most iterations; reaching them shows in the defect.
    """

    size: str = ""
    max_iterations: int = 1000

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        if self.size:
            say_once(f"the tangent kernel and its factor would take {self.size}: solving by conjugate gradients")
        return KernelCGFactor(map, self, self.max_iterations)


class KernelCGFactor(Factor):
    """The preconditioner of a map.

    Args:
        map, solver: as `Factor`.
        max_iterations: the solver's.
    """

    def __init__(self, map: LinearMap, solver: Solver, max_iterations: int) -> None:
        super().__init__(map, solver)
        self.max_iterations = max_iterations
        self._root = _preconditioner(map)

    def invert(self, target: Tensor, damping: float | None) -> Solution:
        a = self.map
        ridge = damping * a.squared_norm() / min(a.rows, a.columns) if damping else 0.0
        v = torch.zeros_like(target, dtype=torch.float64)
        left, start = target.double(), float(torch.linalg.vector_norm(target, dtype=torch.float64))
        for _ in range(1 + RESTARTS):
            v = v + self._iterate(left, ridge, ENOUGH[target.dtype] * start)
            # The residual that the iteration carries along drifts from the true one.
            left = target - self._product(v, ridge)
            if float(torch.linalg.vector_norm(left)) <= ENOUGH[target.dtype] * start:
                break
        return Solution(a.adjoint(v.to(target.dtype)), None, a, target)

    def _iterate(self, target: Tensor, ridge: float, enough: float) -> Tensor:
        """The solution of (A A^T + ridge I) v = target by conjugate gradients, to a residual of so much."""
        left, v = target.clone(), torch.zeros_like(target)
        preconditioned = self._precondition(left)
        direction, inner = preconditioned, float((left * preconditioned).sum())
        for _ in range(self.max_iterations):
            if float(torch.linalg.vector_norm(left)) <= enough:
                return v
            product = self._product(direction, ridge)
            curvature = float((direction * product).sum())
            if not curvature > 0.0:  # a direction that moves nothing: the kernel is singular
                return v
            step = inner / curvature
            v += step * direction
            left -= step * product
            preconditioned = self._precondition(left)
            inner, before = float((left * preconditioned).sum()), inner
            direction = preconditioned + (inner / before) * direction
        say_once(f"CG: not converged in {self.max_iterations} iterations; the defect tells how far it came")
        return v

    def _product(self, v: Tensor, ridge: float) -> Tensor:
        # Sums over all rows in float64: their rounding is what ends conjugate gradients early.
        return self.map.apply(self.map.adjoint(v.to(self.map.dtype))).double() + ridge * v

    def _precondition(self, left: Tensor) -> Tensor:
        if self._root is None:
            return left
        return torch.cholesky_solve(left.reshape(len(self._root), -1), self._root).reshape(left.shape)


def _preconditioner(map: LinearMap) -> Tensor | None:
    """The Cholesky factor of the mean over outputs of the kernel's diagonal blocks, (n, n); None if none exists."""
    if not isinstance(map, Weighted):
        return None
    mean: Any = map.jacobian.mean_gram()
    mean.diagonal().add_(1e-3 * mean.diagonal().mean())
    root, info = torch.linalg.cholesky_ex(mean)
    return None if info != 0 else root
