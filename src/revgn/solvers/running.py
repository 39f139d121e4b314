"""Curvature of earlier mini-batches: a running mean of the features' covariance."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.linear.narrow import narrowed
from revgn.solvers.base import Factor, Solution, Solver, State, Unfactored, WidenedFactor


@dataclass(frozen=True)
class RunningCurvature(Solver):
    """x = (M + lambda I)^-1 A^T u / n with M the running mean of A^T A / n over mini-batches: a step that remembers.

    A mini-batch has fewer rows than a wide layer has features, and a step that solves it exactly undoes what others
    have taught. M knows what the features of other batches look like, and the step leaves these alone. It is not exact
    on any one batch, and says so. For `right_inverse="adjoint"`, whose layers then take one backward pass together, as
    a gradient does.

    M is renewed by the batch at hand, M <- decay M + (1 - decay) A^T A / n, at the first steps at growing distances
    (0, 1, 2, 4, 8, ...), so that it is never older than half of what was seen, and then every `every` steps. It is
    divided by the sum of its weights, so that the mean is one from the first batch on. Memory: two matrices of the
    features' width a layer; cost: n h^2 + h^3 / 3 whenever M is renewed, h^2 for each column of u at every step.

    Args:
        decay: the weight that M keeps when it is renewed.
        damping: lambda relative to the mean diagonal of M.
        every: steps from one renewal of M to the next.

    Raises:
        ValueError: decay outside of [0, 1), damping that is not positive and finite, every below 1.

    Source: one-sided covariance as in FOOF (Benzing 2022), the A factor of K-FAC (Martens and Grosse 2015).
    """

    remembers: ClassVar[bool] = True

    decay: float = 0.9
    damping: float = 0.03
    every: int = 20

    def __post_init__(self) -> None:
        if not 0.0 <= self.decay < 1.0:
            raise ValueError(f"decay must be at least 0 and below 1, got {self.decay}")
        if not 0.0 < self.damping < math.inf:
            raise ValueError(f"damping must be positive and finite, got {self.damping}: early on M has no full rank")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")

    def factor(self, map: LinearMap, state: State | None = None) -> Factor:
        # Narrowed whatever the number of rows, as M has to fit the batches to come.
        narrow = narrowed(map, any_rows=True)
        try:
            if narrow is None:
                return self.factor_map(map, state)
            return WidenedFactor(
                map, self, narrow, self.factor_map(narrow.map, state), narrow.map.columns / map.columns
            )
        except torch.linalg.LinAlgError:
            return Unfactored(map, self)

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        state = {} if state is None else state
        step = int(state["step"]) + 1 if "step" in state else 0
        renewed = int(state["renewed"]) if state else 0
        if not state or step - renewed >= min(self.every, max(1, renewed)):
            self._renew(map, state)
            state["renewed"] = torch.tensor(step)
        state["step"] = torch.tensor(step)
        return RunningFactor(map, self, state)

    def _renew(self, map: LinearMap, state: State) -> None:
        new = map.column_gram().div_(map.rows).to(map.dtype)
        if not bool(torch.isfinite(new.diagonal().sum())):  # it would stay in the mean for ever
            raise torch.linalg.LinAlgError("the features hold NaN or infinity")
        if "mean" in state and state["mean"].shape != new.shape:
            raise ValueError(
                f"the layer has {len(new)} features, and {len(state['mean'])} in earlier steps; make the optimizer anew"
            )
        # As a mean of what was seen, in place of a sum that began at zero and divided by its weights.
        weight = 1.0 + self.decay * float(state["weight"]) if "weight" in state else 1.0
        state["mean"] = new if "mean" not in state else state["mean"].lerp_(new, 1.0 / weight)
        state["weight"] = torch.tensor(weight, dtype=torch.float64)
        state.pop("root", None)


@dataclass(eq=False)
class RunningFactor(Factor):
    """The running mean, and the Cholesky factor for the damping that was asked for last."""

    state: State
    surjective: ClassVar[bool] = False  # no batch is solved by itself

    def invert(self, target: Tensor, damping: float) -> Solution:
        pulled = self.map.stack(self.map.adjoint(target / self.map.rows))
        x = torch.cholesky_solve(pulled, self._root(damping))
        return Solution(self.map.split(x), None, self.map, target)

    def _root(self, damping: float) -> Tensor:
        """The Cholesky factor of M + lambda I, made in float64 and kept in the map's dtype."""
        state = self.state
        if "root" not in state or float(state["damping"]) != damping:
            damped = state["mean"].double()
            damped.diagonal().add_(damping * damped.diagonal().mean())
            state["root"] = torch.linalg.cholesky(damped).to(self.map.dtype)
            state["damping"] = torch.tensor(damping, dtype=torch.float64)
        return state["root"]
