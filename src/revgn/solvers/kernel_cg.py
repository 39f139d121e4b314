"""Preconditioned conjugate gradients in row space: for tangent kernels too large to be factored or held."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn._sizes import say_bytes
from revgn.linear import LinearMap, Weighted
from revgn.solvers.cholesky import Cholesky
from revgn.solvers.gram import image_by_gram, symmetric_product
from revgn.solvers.solver import ENOUGH, Factor, Solution, Solver, State, say_once

# Beginnings anew from the true residual.
RESTARTS = 2
# Iterations from one beginning: with K held more of them cost more than a factorisation.
MOST_HELD, MOST = 60, 1000


@dataclass(frozen=True)
class KernelCG(Solver):
    """x = A^T v with A A^T v = u by preconditioned conjugate gradients on the tangent kernel.

    What `MoorePenrose` takes for kernels too large to be factored in reasonable time or memory. The preconditioner is
    the mean over outputs of K's diagonal blocks, an n x n matrix that stands for all outputs: where outputs share their
    layers, as they mostly do, tens of iterations are enough. Held, an iteration is a product with K, N^2; not held, a
    backward pass and a JVP. It stops at a relative residual of 2.5e-4 in float32, 5e-13 in float64. What does not
    converge with K held goes to `Cholesky`.

    Args:
        held: whether K is formed, in the model's precision.
    """

    held: bool = True

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        if not self.held:
            kernel = say_bytes(8 * map.rows**2)
            say_once(f"a tangent kernel of {kernel} and its factor do not fit: solving by conjugate gradients")
        return KernelCGFactor(map, self, map.gram(map.dtype) if self.held else None, _preconditioner(map))


@dataclass(eq=False)
class KernelCGFactor(Factor):
    """The lower triangle of A A^T, if it is held, the root of its preconditioner, and a factor that took its place."""

    kernel: Tensor | None
    root: Tensor | None
    direct: Factor | None = None

    def invert(self, target: Tensor, damping: float) -> Solution:
        if self.direct is not None:
            return self.direct.invert(target, damping)
        a = self.map
        ridge = self.ridge(damping)
        v = torch.zeros_like(target, dtype=torch.float64)
        left = target.double()
        enough = 0.5 * ENOUGH[target.dtype] * float(torch.linalg.vector_norm(left))
        for _ in range(1 + RESTARTS):
            v = v + self._iterate(left, ridge, enough)
            # The residual that the iteration carries along drifts from the true one.
            left = target - self._product(v, ridge)
            if float(torch.linalg.vector_norm(left)) <= enough:
                break
        x = a.adjoint(v.to(target.dtype))
        known = None if self.kernel is None else image_by_gram(a, x, self.kernel, v.to(target.dtype))
        solution = Solution(x, None, a, target, known)
        if damping or self.kernel is None or solution.exact:
            return solution
        say_once("CG: the tangent kernel is too ill-conditioned for conjugate gradients; factoring it instead")
        self.kernel = None
        self.direct = Cholesky().factor_map(a, None)
        return self.direct.invert(target, damping)

    def _iterate(self, target: Tensor, ridge: float, enough: float) -> Tensor:
        """The solution of (A A^T + ridge I) v = target by conjugate gradients, to a residual of so much."""
        left, v = target.clone(), torch.zeros_like(target)
        preconditioned = self._precondition(left)
        direction, inner = preconditioned, float((left * preconditioned).sum())
        for _ in range(MOST if self.kernel is None else MOST_HELD):
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
        return v

    def _product(self, v: Tensor, ridge: float) -> Tensor:
        # Sums over all rows in float64: their rounding is what ends conjugate gradients early.
        right = v.to(self.map.dtype)
        if self.kernel is not None:
            return symmetric_product(self.kernel, right).double() + ridge * v
        return self.map.apply(self.map.adjoint(right)).double() + ridge * v

    def _precondition(self, left: Tensor) -> Tensor:
        if self.root is None:
            return left
        return torch.cholesky_solve(left.reshape(len(self.root), -1), self.root).reshape(left.shape)


def _preconditioner(map: LinearMap) -> Tensor | None:
    """The Cholesky factor of the mean over outputs of the kernel's diagonal blocks, (n, n); None if none exists."""
    if not isinstance(map, Weighted):
        return None
    mean = map.jacobian.mean_gram()
    mean.diagonal().add_(1e-6 * mean.diagonal().mean())  # as good as definite, and hardly another matrix
    root, info = torch.linalg.cholesky_ex(mean)
    return None if info != 0 else root
