"""What every solver of Phi Delta = u takes and returns, and how exact its answer is."""

import abc
import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.solvers.design import Design
from revgn.solvers.narrow import narrowed

# The relative defect that one Newton step may leave over: features that leave less are surjective for its purposes.
SURJECTIVE = {torch.float32: 1e-3, torch.float64: 1e-8}
# The defect below which a step counts as exact. In float64 that is to rounding, so that J Delta = r to ten digits.
EXACT = {torch.float32: 1e-3, torch.float64: 1e-11}
# The defect at which an iteration (refinement, conjugate gradients) has done enough: in float32, where a product
# counts, half of what makes a step inexact, since 8 probes may be a quarter off; in float64, where the digits are what
# one came for, near rounding.
ENOUGH = {torch.float32: 5e-4, torch.float64: 1e-12}
PROBES = 8


@dataclass(frozen=True, eq=False)
class Solution:
    """Delta with Phi Delta = u, or as near as the solver gets.

    Attributes:
        delta: (h, k).
        bias: (k,), the bias row of Delta, or None.
        rank: numerical rank of the features that the solver used.
        design, target: what was solved.
    """

    delta: Tensor
    bias: Tensor | None
    rank: int
    design: Design
    target: Tensor

    @functools.cached_property
    def moved(self) -> Tensor:
        """Phi Delta, (n, k): what the step really moves. One product, made on first use."""
        return self.design.apply(self.delta, self.bias)

    @functools.cached_property
    def defect(self) -> float:
        """||u - Phi Delta||_F / ||u||_F of this very Delta in its own precision; 0 for u = 0.

        By Gaussian probes w, for which E ||(u - Phi Delta) w||^2 = ||u - Phi Delta||_F^2: 8 probes cost 8 n h.
        """
        probes = _probes(self.target.shape[1], self.target.dtype, self.target.device)
        bias = None if self.bias is None else self.bias @ probes
        left = self.target @ probes - self.design.apply(self.delta @ probes, bias)  # (n, PROBES)
        scale = torch.linalg.vector_norm(self.target, dtype=torch.float64)
        # Where u = 0 nothing is left of it; decided where the tensors are, so that one number comes to the host.
        relative = torch.linalg.vector_norm(left, dtype=torch.float64) / torch.where(scale == 0, 1.0, scale)
        return float(relative)

    def spread(self, right: Tensor) -> "Solution":
        """The solution for the target u R, (n, m), given that for u: Delta R, for R (k, m)."""
        bias = None if self.bias is None else self.bias @ right
        # Delta is transposed in memory, as a layer's weight is, and stays so.
        delta = (right.mT @ self.delta.mT).mT
        return Solution(delta, bias, self.rank, self.design, self.target @ right)

    @property
    def exact(self) -> bool:
        """Whether the defect is at most 1e-3 in float32, 1e-11 in float64."""
        return self.defect <= EXACT[self.target.dtype]

    @property
    def surjective(self) -> bool:
        """Whether the defect is no more than one Newton step may leave over: 1e-3 in float32, 1e-8 in float64."""
        return self.defect <= SURJECTIVE[self.target.dtype]


class Solver(abc.ABC):
    """Base class of the solvers: small frozen objects, called with features and target."""

    def __call__(self, features: Tensor, target: Tensor, *, bias: bool = False) -> Solution:
        """Solve [Phi, 1] Delta = u.

        Args:
            features: Phi, (n, h).
            target: u, (n, k), of the same dtype and device.
            bias: whether a column of ones follows the features.

        Raises:
            ValueError: the shapes or dtypes do not fit.
            FloatingPointError: features or target hold NaN or infinity.
        """
        if features.ndim != 2 or target.ndim != 2 or len(features) != len(target) or len(features) == 0:
            raise ValueError(
                f"features of shape {tuple(features.shape)} and target of shape {tuple(target.shape)}; "
                "expected (n, h) and (n, k) with the same n >= 1"
            )
        if features.dtype != target.dtype or features.dtype not in EXACT:
            raise ValueError(
                f"features of {features.dtype} and target of {target.dtype}; expected both float32 or both float64"
            )
        return self.solve(Design.of(features, bias), target)

    def solve(self, design: Design, target: Tensor) -> Solution:
        """As a call, for features and target that fit.

        Raises:
            FloatingPointError: features or target hold NaN or infinity.
        """
        small = narrowed(design)
        if small is None:
            return self._finite(design, target)
        inner = self._finite(small.design, target)
        return Solution(small.widen(inner.delta), inner.bias, inner.rank, design, target)

    def _finite(self, design: Design, target: Tensor) -> Solution:
        """The solution, whose defect, a number that is wanted anyway, tells whether all was finite."""
        solution = self._solve(design, target)
        if not math.isfinite(solution.defect):
            finite(target, "target")
            for rows in design.features.slices:
                finite(design.features.block(rows))
            raise FloatingPointError("the solution holds NaN or infinity; add damping or lower the learning rate")
        return solution

    @abc.abstractmethod
    def _solve(self, design: Design, target: Tensor) -> Solution:
        """As `solve`; what is not finite may lead to a solution that is not."""


def finite(matrix: Tensor, name: str = "features") -> Tensor:
    """The features, their Gram matrix or the target as it is; raises FloatingPointError if it holds NaN or infinity."""
    if not torch.isfinite(matrix).all():
        verb = "holds" if name == "target" else "hold"
        raise FloatingPointError(f"the {name} {verb} NaN or infinity; check the inputs and lower the learning rate")
    return matrix


def require_tolerance(name: str, value: float | None) -> None:
    """Raise ValueError unless the value is finite and not negative, or None."""
    if value is not None and not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value}")


@functools.lru_cache(maxsize=64)  # so that they need not travel to the device at every step
def _probes(k: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Gaussian probes scaled to unit second moment, (k, PROBES), the same every time; for few columns all of them."""
    if k <= PROBES:
        return torch.eye(k, dtype=dtype, device=device)
    generator = torch.Generator().manual_seed(k)
    probes = torch.randn(k, PROBES, generator=generator, dtype=torch.float64) / PROBES**0.5
    return probes.to(device, dtype)
