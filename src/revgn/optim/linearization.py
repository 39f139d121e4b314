"""A loss at a batch, linearised in the parameters: its value, and the changes that minimise it, certified."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from revgn.linear import Inputs, LinearMap, rows_of
from revgn.linear.functional import call, jvp, plain_kernels, swapped
from revgn.linear.sharded import numbers
from revgn.losses import GaussNewtonLoss
from revgn.losses.loss import relative
from revgn.optim.certificate import Certificate, certify
from revgn.right_inverses import Change, Equation, RightInverse
from revgn.right_inverses.moore_penrose import MoorePenroseLinearized
from revgn.right_inverses.right_inverse import FactorOf
from revgn.solvers import Factor, Solution
from revgn.solvers.solver import EXACT, State

# The most that twice the acceleration may be, relative to the step.
SMALL_BEND = 0.75


@dataclass(frozen=True, eq=False)
class Candidate:
    """A change, and what it was seen to do.

    Attributes:
        change: as the right inverse made it.
        seen: the certificate.
        damping: lambda relative to the mean diagonal that was asked for; None: the solver's own.
        shrink: whether the damping pulls the parameters towards zero.
        moved: J Delta, (n, d_out), where it is known of all rows.
    """

    change: Change
    seen: Certificate
    damping: float | None
    shrink: bool
    moved: Tensor | None

    @property
    def defect(self) -> float:
        """The larger of what the certificate and the right inverse measured."""
        return max(self.change.defect, self.seen.defect)


class Linearization:
    """A loss at a batch, linearised.

    Args:
        model, loss, right_inverse: of the optimizer.
        parameters: those that may change, by name.
        factor: makes a layer's factor.
        inputs, targets, sample_weight: the batch; targets None: zero, for outputs that are residuals.
        memory: what solver and right inverse keep of a layer.
        carried: a change that the step takes in any case, as momentum does, before the learning rate: what it moves is
            not asked of the right inverse again. None: there is none.
        geodesic: whether changes follow the curvature of the outputs' path, see `LevenbergMarquardt`; None: where
            there are fewer parameters than outputs.

    Attributes:
        outputs: F, (n, d_out).
        value: the loss.
        r: the change of the outputs that the loss asks for, less what is carried, (n, d_out).
        shape: of J: outputs of all rows, and parameters.

    Raises:
        ValueError, TypeError: the batch does not fit the model or the loss.
        FloatingPointError: the loss is not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: GaussNewtonLoss,
        right_inverse: RightInverse,
        parameters: Mapping[str, nn.Parameter],
        factor: FactorOf,
        inputs: Inputs,
        targets: Tensor | None,
        sample_weight: Tensor | None,
        *,
        carried: Mapping[nn.Parameter, Tensor] | None = None,
        geodesic: bool | None = False,
        memory: Callable[[nn.Parameter], State],
    ) -> None:
        self.model, self.loss = model, loss
        self.inputs, self.sample_weight = inputs, sample_weight
        self.parameters = parameters
        self._linearized = right_inverse.linearize(model, inputs, list(parameters.values()))
        self._linearized.remember(memory)
        self._new_factor = factor
        self._factors: dict[nn.Parameter, Factor] = {}
        self.outputs = self._linearized.outputs
        self.shape = (self.outputs.numel(), sum(p.numel() for p in parameters.values()))
        self.geodesic = self.shape[1] < self.shape[0] if geodesic is None else geodesic
        self.targets = targets = torch.zeros_like(self.outputs) if targets is None else targets
        loss.check(self.outputs, targets, sample_weight)
        self.value = self.loss_of(self.outputs)
        if not math.isfinite(self.value):
            why = _blame(inputs, self.outputs, targets)
            raise FloatingPointError(f"the loss is {self.value}: {why}; no parameter was changed")
        self.r = loss.direction(self.outputs, targets)
        self._carried = carried or {}
        self._drift = self.moved_by(self._carried) if carried else torch.zeros_like(self.r)  # J times what is carried
        self.r = self.r - self._drift
        weights = loss.row_weight(self.outputs, targets, sample_weight)
        row_root = None if weights is None else relative(weights).sqrt()
        self.equation = Equation(self.r, loss.root(self.outputs, targets, sample_weight), row_root)

    def loss_of(self, outputs: Tensor) -> float:
        """The loss for these outputs in the place of the model's."""
        return float(self.loss.mean(outputs, self.targets, self.sample_weight))

    def candidate(self, damping: float | None = None, *, last: bool = False, shrink: bool = False) -> Candidate:
        """The change at that damping, certified.

        Args:
            damping: lambda relative to the mean diagonal of each Gram matrix; None: the solver's own.
            shrink: whether the damping pulls the parameters towards zero, in place of towards where they are.
            last: whether no other damping will be asked for: features and factors are freed, the largest tensors.

        Raises:
            FloatingPointError: the change, or what it moves, is not finite.
            ValueError: the model is random, or its rows depend on each other.
        """
        equation = dataclasses.replace(self.equation, shrink=shrink)
        change = self._linearized.change(equation, self._factor_with(damping))
        self._check(change)
        interact = self._linearized.rows_interact
        bend = self._bend(change, equation, damping) if self.geodesic else None
        if last:
            del self._linearized
            self._factors.clear()
        seen = certify(
            self.model, self.inputs, self.outputs, self.r, change.by_parameter, change.suspicion, interact=interact
        )
        # Asked here: the larger of two numbers, one of them NaN, may be the other.
        if not math.isfinite(change.defect + seen.defect):
            raise FloatingPointError("J Delta of the step is not finite; add damping or lower the learning rate")
        moved = seen.moved if seen.complete else change.moved
        if moved is None and max(seen.defect, change.defect) <= EXACT[self.r.dtype]:
            moved = self.r
        if bend is not None:  # not before: the certificate is that of Delta, and so is J Delta
            bent = {p: delta + 0.5 * bend[p] for p, delta in change.by_parameter.items()}
            change = dataclasses.replace(change, by_parameter=bent)
        return Candidate(change, seen, damping, shrink, moved)

    def _bend(self, change: Change, equation: Equation, damping: float | None) -> dict[nn.Parameter, Tensor] | None:
        """The acceleration of the outputs along the step, as a change of the parameters that undoes it.

        None where it is not finite, or not small beside the step: then the second order says little.
        """
        short = 0.1  # of the step: long enough for differences, short enough for the second order (Transtrum, Sethna)
        ahead = {p: p.detach() - short * delta for p, delta in change.by_parameter.items()}
        with torch.no_grad(), plain_kernels(self.model), swapped(self.model, ahead):
            outputs = call(self.model, self.inputs)
        moved = self.moved_by(change.by_parameter) if change.moved is None else change.moved
        second = 2 / short * ((outputs - self.outputs) / short + moved)
        if not bool(torch.isfinite(second).all()):
            return None
        made = self._linearized.change(dataclasses.replace(equation, r=second), self._factor_with(damping))
        long, bent = (
            torch.stack([torch.linalg.vector_norm(t, dtype=torch.float64) for t in each.by_parameter.values()]).norm()
            for each in (change, made)
        )
        return made.by_parameter if bool(2 * bent <= SMALL_BEND * long) else None

    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues w (N,) of K = J J^T, and the squares of r - J theta in its eigenvectors, (N,).

        Raises:
            TypeError: the right inverse is another than `MoorePenrose`.
        """
        if not isinstance(self._linearized, MoorePenroseLinearized):
            raise TypeError("a ridge's strength is chosen by the tangent kernel; use right_inverse='moore-penrose'")
        return self._linearized.spectrum(self.equation, self._factor)

    def moved_by(self, change: Mapping[nn.Parameter, Tensor]) -> Tensor:
        """J Delta of all rows, through the model's own forward pass at the parameters as they are."""
        return jvp(self.model, self.inputs, change)[1]

    def predicted_loss(self, candidate: Candidate, rates: Mapping[nn.Parameter, float]) -> float:
        """The loss that the step reaches if the outputs move as J says, at these learning rates.

        From J Delta of all rows where it is known, else from the rows that were certified.
        """
        change = candidate.change.by_parameter
        used = {rates[p] for p in change}
        if len(used) > 1:  # groups with rates of their own: what they move together takes a JVP
            whole = {p: rates[p] * (moved + self._carried.get(p, 0.0)) for p, moved in change.items()}
            return self.loss_of(self.outputs - self.moved_by(whole))
        (lr,) = used
        if candidate.moved is not None:
            return self.loss_of(self.outputs - lr * (candidate.moved + self._drift))
        # The rows that were drawn evenly stand for all: their loss falls by the share by which that of all does.
        seen = candidate.seen
        rows = seen.rows[seen.suspected :]
        moved = seen.moved[seen.suspected :] + self._drift[rows]
        weights = None if self.sample_weight is None else self.sample_weight[rows]
        before = self.loss.mean(self.outputs[rows], self.targets[rows], weights)
        after = self.loss.mean(self.outputs[rows] - lr * moved, self.targets[rows], weights)
        return float(self.value * after / before)

    def _factor_with(self, damping: float | None) -> FactorOf:
        """What makes the factors of a step of that damping."""
        if damping is None:
            return self._new_factor

        def factor(map: LinearMap, key: nn.Parameter) -> Factor:
            inner = self._factor(map, key)
            return Damped(inner.map, inner.solver, inner, damping)

        return factor

    def _factor(self, map: LinearMap, key: nn.Parameter) -> Factor:
        """A layer's factor, made once for all dampings."""
        if key not in self._factors:
            self._factors[key] = self._new_factor(map, key)
        return self._factors[key]

    def _check(self, change: Change) -> None:
        names = {p: name for name, p in self.parameters.items()}
        for p, moved in change.by_parameter.items():
            if p not in names:
                raise RuntimeError(
                    f"the right inverse changes a parameter of shape {tuple(p.shape)} that it was not given"
                )
            if moved.shape != p.shape:
                raise RuntimeError(f"the change for {names[p]} has shape {tuple(moved.shape)}, not {tuple(p.shape)}")
        # A sum is one pass and is finite only if every entry is, short of overflow, which is no step either.
        sums = numbers([moved.sum() for moved in change.by_parameter.values()]).tolist()
        for p, total in zip(change.by_parameter, sums, strict=True):
            if not math.isfinite(total):
                raise FloatingPointError(
                    f"the step for {names[p]} is not finite; add damping or lower the learning rate"
                )


@dataclass(eq=False)
class Damped(Factor):
    """A factor that solves with a damping of its own where none is asked."""

    inner: Factor
    damping: float

    @functools.cached_property
    def surjective(self) -> bool:
        return self.inner.surjective

    def invert(self, target: Tensor, damping: float) -> Solution:
        return self.inner.invert(target, damping)

    def solve(self, target: Tensor, damping: float | None = None) -> Solution:
        return self.inner.solve(target, self.damping if damping is None else damping)


def _blame(inputs: Inputs, outputs: Tensor, targets: Tensor) -> str:
    rows = rows_of(inputs)
    named = [("inputs", rows.everywhere(_not_finite(t))) for t in tree_leaves(rows.local) if isinstance(t, Tensor)]
    for what, not_finite in (*named, ("targets", _not_finite(targets)), ("outputs", _not_finite(outputs))):
        bad = not_finite.nonzero().flatten().tolist()
        if bad:
            which = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
            advice = "lower the learning rate" if what == "outputs" else "remove or impute them"
            return f"{what} hold NaN or infinity in {len(bad)} of {len(not_finite)} rows ({which}); {advice}"
    return "the outputs are finite but too large; lower the learning rate"


def _not_finite(tensor: Tensor) -> Tensor:
    """Which rows hold NaN or infinity, (n,)."""
    return (~torch.isfinite(tensor)).reshape(len(tensor), -1).any(-1)
