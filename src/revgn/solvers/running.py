"""Curvature of earlier mini-batches: a running mean of the features' covariance."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from revgn._sizes import require_room
from revgn.linear import LinearMap
from revgn.solvers.solver import Factor, Solution, Solver, State


@dataclass(frozen=True)
class RunningCurvature(Solver):
    """x = (M + lambda I)^-1 A^T u / n with M the running mean of A^T A / n over mini-batches: a step that remembers.

    A mini-batch has fewer rows than a wide layer has features, and a step that solves it exactly undoes what others
    have taught. M knows what the features of other batches look like, and the step leaves these alone. It is not exact
    on any one batch, and says so. For `right_inverse="adjoint"`, whose layers then take one backward pass together, as
    a gradient does. Let the learning rate fall to zero, from 1 for squared error, and from the number of classes for
    cross-entropy, whose r is a step by H = I: where all classes are as likely, the Newton step is that much longer.

    M is renewed by the batch at hand at steps 0, 1, 2, 4, 8, ..., so that it is never older than half of what was seen,
    and then every `every` steps: older batches then count `decay` times as much as before, and the weights sum to one
    from the first batch on. Memory: two matrices of the features' width a layer; cost: n h^2 + h^3 whenever M is
    renewed, h^2 for each column of u at every step. Where M + lambda I is not positive definite to rounding, and for a
    damping of zero that is asked of the factor, its eigenvalues give the pseudo-inverse.

    Args:
        decay: of the weight of earlier batches, whenever M is renewed.
        damping: lambda relative to the mean diagonal of M; while M has seen fewer rows than there are features, to
            the mean over so many eigenvalues, as the others are zero.
        every: steps from one renewal of M to the next.

    Raises:
        ValueError: decay outside of [0, 1), damping that is not positive and finite, every below 1.
        MemoryError: M of so many features exceeds the machine's memory; raised by the step.

    Source: one-sided covariance as in FOOF (Benzing 2022), the A factor of K-FAC (Martens and Grosse 2015).
    """

    remembers: ClassVar[bool] = True

    decay: float = 0.9
    damping: float = 0.1
    every: int = 20

    def __post_init__(self) -> None:
        if not 0.0 <= self.decay < 1.0:
            raise ValueError(f"decay must be at least 0 and below 1, got {self.decay}")
        if not 0.0 < self.damping < math.inf:
            raise ValueError(f"damping must be positive and finite, got {self.damping}: early on M has no full rank")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        state = {} if state is None else state
        if state and not state.keys() >= {"mean", "rows", "step", "renewed"}:
            raise ValueError(f"what is remembered of a layer is {', '.join(state)} only; load another copy of it")
        if state and (state["mean"].dtype, state["mean"].device) != (map.dtype, map.device):  # the model was moved
            state["mean"] = state["mean"].to(map.device, map.dtype)
            state.pop("inverse", None)
        step = int(state["step"]) + 1 if state else 0
        renewed = int(state["renewed"]) if state else 0
        if not state or step - renewed >= min(self.every, max(1, renewed)):
            self._renew(map, state)
            state["renewed"] = torch.tensor(step)
        state["step"] = torch.tensor(step)
        return RunningFactor(map, self, state)

    def _renew(self, map: LinearMap, state: State) -> None:
        remedy = "use narrower layers, and right_inverse='adjoint', which keeps one for each layer"
        require_room(8 * map.columns**2, f"the covariance of {map.columns} features", remedy)
        new = map.column_gram().div_(map.rows).to(map.dtype)
        if not bool(torch.isfinite(new.diagonal().sum())):  # it would stay in the mean for ever
            raise torch.linalg.LinAlgError("the features hold NaN or infinity")
        mean = state.get("mean", new)
        if mean.shape != new.shape:
            raise ValueError(f"the layer has {len(new)} features, but had {len(mean)} before; make the optimizer anew")
        before = self.decay * float(state.get("rows", 0.0))
        rows = before + map.rows
        state["mean"] = mean.lerp(new, map.rows / rows)
        state["rows"] = torch.tensor(rows, dtype=torch.float64)
        state.pop("inverse", None)


@dataclass(eq=False)
class RunningFactor(Factor):
    """The factor of what is remembered of a layer.

    Attributes:
        state: "mean", M, of which the lower triangle is read; "rows", how many it stands for, older ones counting less;
            "inverse", (M + lambda I)^-1 for the "damping" that was asked for last.
    """

    state: State

    @property
    def surjective(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """False: no batch is solved by itself."""
        return False

    def gram_size(self, map: LinearMap) -> float:
        return min(map.columns, float(self.state["rows"]))

    def invert(self, target: Tensor, damping: float) -> Solution:
        pulled = self.map.adjoint(target / self.map.rows)
        return Solution(self.map.transformed(self._inverse(damping), pulled), None, self.map, target)

    def _inverse(self, damping: float) -> Tensor:
        """(M + lambda I)^-1, factored in float64 and kept in the map's dtype: a product is quicker than two solves."""
        state = self.state
        if not state.keys() >= {"inverse", "damping"} or float(state["damping"]) != damping:
            damped = state["mean"].to(torch.float64, copy=True)
            diagonal = damped.diagonal()
            diagonal.add_(damping * diagonal.sum() / self.gram_size(self.map))
            root, info = torch.linalg.cholesky_ex(damped)
            if damping and info == 0:
                inverse = torch.cholesky_inverse(root.to(self.map.dtype))
            else:
                rounding = len(damped) * torch.finfo(self.map.dtype).eps
                inverse = torch.linalg.pinv(damped, rtol=rounding, hermitian=True)
            state["inverse"] = inverse.to(self.map.dtype)
            state["damping"] = torch.tensor(damping, dtype=torch.float64)
        return state["inverse"]
