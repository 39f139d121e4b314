"""What a right inverse of the Jacobian is asked, and what it answers."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from revgn.linear import Inputs, LinearMap, WeightedRows
from revgn.solvers import Cholesky, Factor, Solution, Solver
from revgn.solvers.solver import State

FactorOf = Callable[[LinearMap, nn.Parameter], Factor]
"""Makes the factor of a layer's map; the layer's weight tells whose memory the solver may use."""


@dataclass(frozen=True)
class LayerReport:
    """What became of one layer in a step.

    Attributes:
        name: the layer's name in the model.
        block: the index of its reversible block; None outside of reversible networks.
        rank: measured rank of its features; None where it was not solved or its solver does not measure ranks.
        defect: relative error ||u - Phi Delta|| / ||u|| of its own equation; None where it was not solved.
        weight: its share c_l of the step; 0 for a layer that the step leaves alone.
    """

    name: str
    block: int | None
    rank: int | None
    defect: float | None
    weight: float


@dataclass(frozen=True, eq=False)
class Change:
    """A step, as a right inverse gives it.

    Attributes:
        by_parameter: the change of each parameter that moves, to be subtracted.
        defect: ||J Delta - r|| / ||r|| as far as the right inverse knows it by itself; certified afterwards.
        layers: what became of each layer.
        moved: J Delta, (n, d_out), where it is known of all rows.
        suspicion: how much each row may have gone astray, (n,), in any unit: the certificate looks at the worst.
        route: in which space which matrix was solved, for the report.
        warning: what the user should be told, once.
    """

    by_parameter: dict[nn.Parameter, Tensor]
    defect: float
    layers: tuple[LayerReport, ...] = ()
    moved: Tensor | None = None
    suspicion: Tensor | None = None
    route: str = ""
    warning: str | None = None


@dataclass(frozen=True, eq=False)
class Equation:
    """J Delta = r, and how its rows are weighed where it can only be solved in the least-squares sense.

    Attributes:
        r: the direction wanted in output space, (n, d_out).
        root: a root of the loss's curvature, (n, k, d_out); None for the identity.
        row_root: square roots of the sample weights, (n,); None where all are alike.
        shrink: whether damping pulls the parameters towards zero, in place of towards where they are: then the step
            minimises ||J Delta - r||^2 + lambda ||theta - Delta||^2. `MoorePenrose` alone knows how.
    """

    r: Tensor
    root: Tensor | None = None
    row_root: Tensor | None = None
    shrink: bool = False


class Linearized(abc.ABC):
    """A model at a batch.

    Attributes:
        outputs: F, (n, d_out).
        rows_interact: whether outputs depend on other rows than their own, so that none can be looked at alone.
    """

    outputs: Tensor
    rows_interact: bool = False

    def remember(self, memory: Callable[[nn.Parameter], State]) -> None:  # noqa: B027  # most remember nothing
        """Take what earlier steps have left of each layer, to read and to update; called before `change`."""

    @abc.abstractmethod
    def change(self, equation: Equation, factor: FactorOf) -> Change:
        """The change Delta with J Delta = r, or as near as this right inverse gets."""


class RightInverse(abc.ABC):
    """Base class of the right inverses of J: small frozen objects.

    A subclass implements `linearize`; `check` where it does not exist for every model, and `default_solver` where
    `Cholesky()` is not what it needs.

    Attributes:
        takes_shards: whether parameters may be DTensors, as `revgn.parallel.parallelize` makes them.
    """

    takes_shards: ClassVar[bool] = False

    def check(self, model: nn.Module, parameters: Sequence[nn.Parameter]) -> None:  # noqa: B027  # most exist for all
        """Refuse a model for which this right inverse does not exist, before anything is run.

        Raises:
            ValueError, TypeError: the message says why, and what to do.
        """

    @abc.abstractmethod
    def linearize(self, model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> Linearized:
        """Run the model forwards, keeping what the change needs.

        Args:
            model: what is trained.
            inputs: n rows.
            parameters: those that may change: trainable, of the model, and the optimizer's.

        Raises:
            ValueError, TypeError: as `check`, or the batch does not fit the model.
        """

    def default_solver(self, map: LinearMap) -> Solver:
        """The solver where the user names none."""
        return Cholesky()


def weighed(map: LinearMap, row_root: Tensor | None) -> LinearMap:
    """A layer's map with its rows weighed, which is the one to factor."""
    return map if row_root is None else WeightedRows(_by_rows(row_root, map), map)


def solve(factor: Factor, map: LinearMap, target: Tensor, row_root: Tensor | None) -> Solution:
    """The solution of a layer's equation, in the least-squares sense with the rows weighed.

    Args:
        factor: of the weighed map.
        map: the layer's, as it is.
        target: likewise.
        row_root: as of `Equation`.
    """
    if row_root is None:
        return factor.solve(target)
    solution = factor.solve(_by_rows(row_root, map).unsqueeze(1) * target)
    return Solution(solution.x, solution.measured_rank, map, target)


def _by_rows(row_root: Tensor, map: LinearMap) -> Tensor:
    """For each row of the map: a layer with weights shared over positions has several for each of the batch."""
    return row_root.repeat_interleave(map.rows // len(row_root))


def relative_defect(moved: Tensor, r: Tensor) -> float:
    """||J Delta - r|| / ||r||; 0 for r = 0 that stays where it is."""
    left = torch.linalg.vector_norm(moved - r, dtype=torch.float64)
    scale = torch.linalg.vector_norm(r, dtype=torch.float64)
    return float(left / torch.where(scale == 0, 1.0, scale))


def on_host(measured: Sequence["int | Tensor | None"]) -> list[int | None]:
    """Measured ranks as numbers, brought from the device at once."""
    tensors = [rank for rank in measured if isinstance(rank, Tensor)]
    numbers = iter(torch.stack(tensors).tolist() if tensors else [])
    return [next(numbers) if isinstance(rank, Tensor) else rank for rank in measured]
