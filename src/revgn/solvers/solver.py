"""What every solver of A x = u is made of: a factor that is had once, and solutions that tell how exact they are."""

import abc
import functools
import logging
import math
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from revgn.linear import Features, LinearMap, Vector
from revgn.linear.narrow import Narrowed, narrowed
from revgn.linear.sharded import whole

# The relative defect that one Newton step may leave over: features that leave less are surjective for its purposes.
SURJECTIVE = {torch.float32: 1e-3, torch.float64: 1e-8}
# The defect below which a step counts as exact. In float64 that is to rounding, so that J Delta = r to ten digits.
EXACT = {torch.float32: 1e-3, torch.float64: 1e-11}
# The defect at which an iteration has done enough: in float32, where a product counts, half of what makes a step
# inexact, since 8 probes may be a quarter off; in float64, where the digits are what one came for, near rounding.
ENOUGH = {torch.float32: 5e-4, torch.float64: 1e-12}
PROBES = 8

State = MutableMapping[str, Tensor]
"""What a solver remembers of one layer from step to step; the optimizer keeps, saves and restores it."""


@dataclass(frozen=True, eq=False)
class Solution:
    """x with A x = u, or as near as the solver gets.

    Attributes:
        x: in the form in which the map keeps its domain.
        measured_rank: numerical rank of A as the solver found it, a number or a tensor of one; None where it did not.
        map, target: A, and u, (n, k).
        known: A x, where the solver has it by another way.
    """

    x: Vector
    measured_rank: "int | Tensor | None"
    map: LinearMap
    target: Tensor
    known: Tensor | None = None

    @property
    def delta(self) -> Tensor:
        """The rows of x for a layer's features, (h, k)."""
        return self.x[0]

    @property
    def bias(self) -> Tensor | None:
        """The bias row of x, (k,), or None."""
        return self.x[1]

    @property
    def rank(self) -> int | None:
        """The measured rank; None where the solver does not measure it."""
        return None if self.measured_rank is None else int(self.measured_rank)

    @functools.cached_property
    def moved(self) -> Tensor:
        """A x, (n, k): what the step really moves. One product, made on first use, where it is not known."""
        return self.map.apply(self.x) if self.known is None else self.known

    @functools.cached_property
    def left(self) -> Tensor:
        """What is left of the target by probes, (u - A x) w for columns w of unit second moment, (n, at most 8)."""
        k = self.target.shape[1]
        if k <= PROBES:  # then the target's own columns are as cheap as probes
            return self.target - self.moved
        probes = _probes(k, self.target.dtype, self.target.device)
        return self.target @ probes - self.map.apply(self.map.times(self.x, probes))

    @functools.cached_property
    def defect(self) -> float:
        """||u - A x||_F / ||u||_F of this very x in its own precision; 0 for u = 0.

        By Gaussian probes w, for which E ||(u - A x) w||^2 = ||u - A x||_F^2: 8 probes cost 8 n h.
        """
        scale = torch.linalg.vector_norm(self.target, dtype=torch.float64)
        # Where u = 0 nothing is left of it; decided where the tensors are, so that one number comes to the host.
        return float(torch.linalg.vector_norm(self.left, dtype=torch.float64) / torch.where(scale == 0, 1.0, scale))

    def spread(self, right: Tensor) -> "Solution":
        """The solution for the target u R, (n, m), given that for u: x R, for R (k, m)."""
        return Solution(self.map.times(self.x, right), self.measured_rank, self.map, self.target @ right)

    @property
    def exact(self) -> bool:
        """Whether the defect is at most 1e-3 in float32, 1e-11 in float64."""
        return self.defect <= EXACT[self.target.dtype]

    @property
    def surjective(self) -> bool:
        """Whether the defect is no more than one Newton step may leave over: 1e-3 in float32, 1e-8 in float64."""
        return self.defect <= SURJECTIVE[self.target.dtype]


@dataclass(eq=False)
class Factor(abc.ABC):
    """What a solver has made of a map: it answers any number of right-hand sides, with any damping.

    A subclass implements `invert`.

    Attributes:
        map: A.
        solver: what made the factor.
    """

    map: LinearMap
    solver: Any

    @abc.abstractmethod
    def invert(self, target: Tensor, damping: float) -> Solution:
        """As `solve`, where what is not finite may lead to a solution that is not, or to torch's LinAlgError."""

    def solve(self, target: Tensor, damping: float | None = None) -> Solution:
        """The solution of A x = u, damped if asked: (A^T A + lambda I)^-1 A^T u.

        Args:
            target: u, (n, k), of the map's dtype and device.
            damping: lambda relative to the mean diagonal of the smaller Gram matrix; None: the solver's own.

        Raises:
            ValueError: the damping is negative or not finite.
            FloatingPointError: the map, the target or the solution holds NaN or infinity.
        """
        require_tolerance("damping", damping)
        target = whole(target)
        damping = float(getattr(self.solver, "damping", 0.0)) if damping is None else damping
        solution = self._attempt(target, damping)
        if solution is not None and solution.exact:
            return solution
        largest = self.map.largest_entry() if solution is None else self.map.typical_entry()
        info = torch.finfo(target.dtype)
        low, high = (info.tiny / info.eps) ** 0.5, info.max**0.5 * info.eps
        if 0 < largest < math.inf and not low < largest < high:
            # Squares of such entries under- or overflow: solve with entries near one.
            scale = 2.0 ** -round(math.log2(largest))
            inner = self.solver.factor(self.map.scaled(scale)).solve(target, damping)
            x = self.map.split(scale * inner.map.stack(inner.x))
            solution = Solution(x, inner.measured_rank, self.map, target)
        if solution is not None and math.isfinite(solution.defect):
            return solution
        if not torch.isfinite(target).all():
            raise FloatingPointError("the target holds NaN or infinity; check the inputs and lower the learning rate")
        if not math.isfinite(largest):
            raise FloatingPointError("the features hold NaN or infinity; check the inputs and lower the learning rate")
        raise FloatingPointError("the solution holds NaN or infinity; add damping or lower the learning rate")

    def ridge(self, damping: float) -> float:
        """Lambda itself."""
        return damping * self.map.squared_norm() / self.gram_size(self.map) if damping else 0.0

    def gram_size(self, map: LinearMap) -> float:
        """The size of the Gram matrix of such a map whose mean diagonal dampings are relative to."""
        return min(map.rows, map.columns)

    def _attempt(self, target: Tensor, damping: float) -> Solution | None:
        try:
            solution = self.invert(target, damping)
        except torch.linalg.LinAlgError:  # torch's answer to matrices that are not finite
            return None
        return solution if math.isfinite(solution.defect) else None

    @functools.cached_property
    def surjective(self) -> bool:
        """Whether A reaches every u, measured: by the defect that is left of random ones."""
        return self.solve(_probes(self.map.rows, self.map.dtype, self.map.device)).surjective


class Unfactored(Factor):
    """The factor of a map that has none, for it holds or squares to what is not finite: `solve` finds out which."""

    def invert(self, target: Tensor, damping: float) -> Solution:
        raise torch.linalg.LinAlgError("the map could not be factored")


@dataclass(eq=False)
class WidenedFactor(Factor):
    """The factor of [Z V, 1] by way of that of the narrow [Z C, 1], see `revgn.linear.narrow`.

    Attributes:
        narrow, inner: the narrow map, and its factor.
    """

    narrow: Narrowed
    inner: Factor

    def invert(self, target: Tensor, damping: float) -> Solution:
        # Both maps have the same trace, so that their mean diagonals differ by the sizes of their Gram matrices.
        share = self.inner.gram_size(self.narrow.map) / self.inner.gram_size(self.map)
        inner = self.inner.invert(target, share * damping)
        return Solution(self.narrow.widen(inner.x), inner.measured_rank, self.map, target)


class Solver(abc.ABC):
    """Base class of the solvers: small frozen objects with two verbs, `factor` once and the factor's `solve` often.

    A subclass implements `factor_map`. One that remembers earlier batches says so by `remembers = True`; one that damps
    has a field `damping`.
    """

    remembers: ClassVar[bool] = False

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
        return self.factor(Features.of(features, bias=bias)).solve(target)

    def factor(self, map: LinearMap, state: State | None = None) -> Factor:
        """What answers A x = u for this map A.

        Args:
            map: A.
            state: what a solver that remembers keeps of this layer; it reads and updates the mapping.
        """
        narrow = narrowed(map, any_rows=self.remembers)  # what is remembered has to fit batches of any size
        try:
            if narrow is None:
                return self.factor_map(map, state)
            return WidenedFactor(map, self, narrow, self.factor_map(narrow.map, state))
        except torch.linalg.LinAlgError:
            return Unfactored(map, self)

    @abc.abstractmethod
    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        """As `factor`, for a map to be taken as it is."""


@functools.cache
def say_once(message: str) -> None:
    """Log a step down the ladder of solvers the first time that it is taken in this process."""
    logging.getLogger("revgn.solvers").warning(message)


def require_tolerance(name: str, value: Any) -> None:
    """Raise ValueError unless the value is finite and not negative, or None."""
    if value is not None and not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value}")


@functools.lru_cache(maxsize=64)  # so that they need not travel to the device at every step
def _probes(k: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Gaussian probes scaled to unit second moment, (k, PROBES), the same every time."""
    generator = torch.Generator().manual_seed(k)
    probes = torch.randn(k, PROBES, generator=generator, dtype=torch.float64, device="cpu") / PROBES**0.5
    return probes.to(device, dtype)
