"""The factor of features that are linear in few inputs: that of the narrow map, whose solutions are widened."""

from torch import Tensor

from revgn.linear import LinearMap
from revgn.linear.narrow import Narrowed, narrowed
from revgn.solvers.base import Factor, Solution, Solver, State


class WidenedFactor(Factor):
    """Solutions of [Z V, 1] x = u by way of [Z C, 1], see `revgn.linear.narrow`.

    Args:
        map, solver: as `Factor`.
        narrow: the narrow map.
        state: the solver's.
    """

    def __init__(self, map: LinearMap, solver: Solver, narrow: Narrowed, state: State | None) -> None:
        super().__init__(map, solver)
        self.narrow = narrow
        self.inner = solver.factor_map(narrow.map, state)

    def invert(self, target: Tensor, damping: float | None) -> Solution:
        damping = float(getattr(self.solver, "damping", 0.0)) if damping is None else damping
        # Both maps have the same trace, so that their mean diagonals differ by the sizes of their Gram matrices.
        narrow, wide = self.narrow.map, self.map
        share = min(narrow.rows, narrow.columns) / min(wide.rows, wide.columns)
        inner = self.inner.invert(target, share * damping)
        return Solution(self.narrow.widen(inner.x), inner.measured_rank, self.map, target)


def widened(solver: Solver, map: LinearMap, state: State | None) -> Factor | None:
    """The factor by way of the narrow map, where the map's structure gives one; None otherwise."""
    narrow = narrowed(map)
    return None if narrow is None else WidenedFactor(map, solver, narrow, state)
