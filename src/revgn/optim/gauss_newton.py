"""Exact Gauss-Newton as a torch optimizer: a change of our own in the place of the gradient."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from revgn.linear import Inputs, LinearMap
from revgn.linear.functional import count_rows, full_precision, jvp, take
from revgn.losses import GaussNewtonLoss
from revgn.losses.weights import relative
from revgn.optim.certificate import Certificate, certify
from revgn.optim.report import Report
from revgn.right_inverses import Change, Equation, Reversible, RightInverse, find_right_inverse
from revgn.solvers import Factor, Solver
from revgn.solvers.base import EXACT


class GaussNewton(torch.optim.SGD):
    """theta <- theta - lr Delta with J Delta = r: exact Gauss-Newton for any module.

    J is the Jacobian of the outputs by all parameters, r the change of the outputs that the loss asks for (for squared
    error the residual). `backward` writes Delta into `.grad`, in place of `loss.backward()`, and torch's own SGD
    applies it, so that momentum, weight decay, parameter groups, learning rate schedulers and `state_dict` are torch's.

        for inputs, targets in loader:
            report = optimizer.backward(inputs, targets)
            optimizer.step()

    Which Delta of the many that move the outputs by r is the choice of the right inverse, and decides how well the
    network generalises: see `revgn.right_inverses`. Whether J Delta = r is measured at every step, on the model's own
    forward pass: `Report.exact`. On mini-batches the step solves each batch and forgets the others.

    Args:
        model: any module whose rows do not depend on each other, with outputs (n, d_out).
        loss: from `revgn.losses`, or a `GaussNewtonLoss` of your own.
        lr: 1 is the full Newton step.
        right_inverse: "reversible", "adjoint", "moore-penrose", or an object of `revgn.right_inverses`; None:
            "reversible" for a `ReversibleNetwork`, "moore-penrose" for any other module.
        solver: of the linear equations; None: the right inverse's own choice, `Cholesky()` as a rule.
        block_weights, keep_features, chunk_rows: of `revgn.right_inverses.Reversible`.
        params: a part of the model's parameters, or parameter groups; None: all that are trainable.
        momentum, dampening, weight_decay, nesterov: as in `torch.optim.SGD`.

    Raises:
        TypeError: the model is no module, or not reversible where that is asked; the loss has no `direction`.
        ValueError: an option out of range; parameters that are not float32 or float64; parameters that the right
            inverse cannot change.

    Source: Buffelli et al., NeurIPS 2024, arXiv 2411.07979; Schraudolph (2002) for losses with a curvature.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: GaussNewtonLoss,
        lr: float = 1.0,
        *,
        right_inverse: RightInverse | str | None = None,
        solver: Solver | None = None,
        block_weights: str | Sequence[float] = "exact",
        keep_features: bool = True,
        chunk_rows: int | None = None,
        params: Iterable[Any] | None = None,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
        if not isinstance(loss, GaussNewtonLoss):
            raise TypeError(
                f"loss {type(loss).__name__} knows no Gauss-Newton direction; use revgn.losses.MSELoss, "
                "CrossEntropyLoss or another of revgn.losses, or a subclass of revgn.losses.GaussNewtonLoss"
            )
        given = {"block_weights": block_weights, "keep_features": keep_features, "chunk_rows": chunk_rows}
        defaults = vars(Reversible())
        options = {name: value for name, value in given.items() if value != defaults[name]}
        self.model = model
        self.loss = loss
        self.right_inverse = find_right_inverse(right_inverse, model, **options)
        self.solver = solver
        self._warned = False
        if params is None:
            params = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )
        for name, parameter in self._named_parameters().items():
            if parameter.dtype not in EXACT:
                raise ValueError(f"{name} is {parameter.dtype}; Gauss-Newton needs float32 or float64: model.float()")
        self.right_inverse.check(model, [p for p in self._named_parameters().values() if p.requires_grad])

    def backward(self, inputs: Inputs, targets: Tensor, sample_weight: Tensor | None = None) -> Report:
        """Write the change into every parameter's `.grad`, in place of `loss.backward()`; then call `step()`.

        What stands in `.grad` is then not the gradient but Delta with J Delta = r, zero for parameters that the step
        leaves alone. Whatever stood there is replaced: steps do not accumulate.

        Args:
            inputs: (n, ...), of the model's dtype and device; a tuple for several positional arguments, a dict for
                keyword arguments.
            targets: as the loss takes them.
            sample_weight: (n,), how much each row counts; None: all alike. Where the step is exact they change nothing
                but the reported loss; rows of weight 0 are left out.

        Raises:
            ValueError, TypeError: inputs or targets have the wrong shape, dtype, device or values; the model is random,
                or its rows depend on each other.
            FloatingPointError: the loss or the step is not finite. Neither parameters nor `.grad` were touched.
        """
        change, report = self._step(inputs, targets, sample_weight)
        for parameter in self._named_parameters().values():
            moved = change.by_parameter.get(parameter)
            parameter.grad = torch.zeros_like(parameter) if moved is None else moved
        return report

    def direction(self, inputs: Inputs, targets: Tensor, sample_weight: Tensor | None = None) -> dict[str, Tensor]:
        """The change by parameter name, as `backward` would write it, without touching `.grad`."""
        change, _ = self._step(inputs, targets, sample_weight)
        made = change.by_parameter
        return {name: made[p] if p in made else torch.zeros_like(p) for name, p in self._named_parameters().items()}

    def _step(self, inputs: Inputs, targets: Tensor, sample_weight: Tensor | None) -> tuple[Change, Report]:
        count_rows(inputs)
        with full_precision(self.param_groups[0]["params"][0].device):
            if sample_weight is not None:
                inputs, targets, sample_weight = self._without_zero_weights(inputs, targets, sample_weight)
            linearized = self.right_inverse.linearize(self.model, inputs, self._trainable())
            outputs = linearized.outputs
            self.loss.check(outputs, targets, sample_weight)
            loss = self._finite_loss(inputs, outputs, targets, sample_weight)
            r = self.loss.direction(outputs, targets)
            row_root = None if sample_weight is None else relative(sample_weight).sqrt()
            equation = Equation(r, self.loss.root(outputs, targets, sample_weight), row_root)
            change = linearized.change(equation, self._factor)
            del linearized, equation  # features and factors are the largest tensors, and of no further use
            self._check_change(change)
            seen = certify(self.model, inputs, outputs, r, change.by_parameter, change.suspicion)
            # Asked here: the larger of two numbers, one of them NaN, may be the other.
            if not math.isfinite(change.defect + seen.defect):
                raise FloatingPointError("J Delta of the step is not finite; add damping or lower the learning rate")
            predicted = self._predicted_loss(inputs, outputs, targets, sample_weight, r, change, seen)
        self._warn_once(change)
        return change, self._report(loss, outputs, predicted, change, seen)

    def _factor(self, map: LinearMap, key: nn.Parameter) -> Factor:
        solver = self.right_inverse.default_solver(map) if self.solver is None else self.solver
        return solver.factor(map, self.state[key].setdefault("solver", {}) if solver.remembers else None)

    def _without_zero_weights(
        self, inputs: Inputs, targets: Tensor, sample_weight: Tensor
    ) -> tuple[Inputs, Tensor, Tensor]:
        given = isinstance(sample_weight, Tensor) and sample_weight.device == targets.device
        if not given or sample_weight.shape != (count_rows(inputs),) or not bool((sample_weight == 0).any()):
            return inputs, targets, sample_weight  # the loss will say what is wrong with their kind or shape
        kept = sample_weight != 0
        if not bool(kept.any()):
            raise ValueError("sample_weight is zero for all rows; expected at least one that counts")
        return take(inputs, kept), targets[kept], sample_weight[kept]

    def _finite_loss(self, inputs: Inputs, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None) -> float:
        value = float(self.loss.mean(outputs, targets, sample_weight))
        if math.isfinite(value):
            return value
        raise FloatingPointError(f"the loss is {value}: {_blame(inputs, outputs, targets)}; no parameter was changed")

    def _check_change(self, change: Change) -> None:
        names = {p: name for name, p in self._named_parameters().items()}
        for p, moved in change.by_parameter.items():
            if p not in names:
                raise RuntimeError(
                    f"{type(self.right_inverse).__name__} changes a parameter of shape {tuple(p.shape)} that this "
                    "optimizer does not have"
                )
            if moved.shape != p.shape:
                raise RuntimeError(f"the change for {names[p]} has shape {tuple(moved.shape)}, not {tuple(p.shape)}")
        # A sum is one pass and is finite only if every entry is, short of overflow, which is no step either.
        sums = torch.stack([moved.sum() for moved in change.by_parameter.values()]).tolist()
        for p, total in zip(change.by_parameter, sums, strict=True):
            if not math.isfinite(total):
                raise FloatingPointError(
                    f"the step for {names[p]} is not finite; add damping or lower the learning rate"
                )

    def _predicted_loss(
        self,
        inputs: Inputs,
        outputs: Tensor,
        targets: Tensor,
        sample_weight: Tensor | None,
        r: Tensor,
        change: Change,
        seen: Certificate,
    ) -> float:
        rates = {p: float(group["lr"]) for group in self.param_groups for p in group["params"]}
        used = {rates[p] for p in change.by_parameter}
        if len(used) > 1:  # groups with rates of their own: what they move together takes a JVP
            scaled = {p: rates[p] * moved for p, moved in change.by_parameter.items()}
            return float(self.loss.mean(outputs - jvp(self.model, inputs, scaled)[1], targets, sample_weight))
        (lr,) = used
        moved = seen.moved if seen.complete else change.moved
        if moved is None and max(seen.defect, change.defect) <= EXACT[r.dtype]:
            moved = r
        if moved is not None:
            return float(self.loss.mean(outputs - lr * moved, targets, sample_weight))
        # The rows that were drawn evenly stand for all: their loss falls by the share by which that of all does.
        rows, moved = seen.rows[seen.suspected :], seen.moved[seen.suspected :]
        weights = None if sample_weight is None else sample_weight[rows]
        before = self.loss.mean(outputs[rows], targets[rows], weights)
        after = self.loss.mean(outputs[rows] - lr * moved, targets[rows], weights)
        return float(self.loss.mean(outputs, targets, sample_weight) * after / before)

    def _report(self, loss: float, outputs: Tensor, predicted: float, change: Change, seen: Certificate) -> Report:
        defect = max(change.defect, seen.defect)
        exact = defect <= EXACT[outputs.dtype]
        damping = float(getattr(self.solver, "damping", 0.0))
        return Report(
            loss=loss,
            outputs=outputs,
            defect=defect,
            exact=exact,
            predicted_loss=predicted,
            status="exact" if exact else "damped" if damping else "least squares",
            damping=damping,
            layers=change.layers,
        )

    def _warn_once(self, change: Change) -> None:
        if change.warning is not None and not self._warned:
            self._warned = True
            warnings.warn(change.warning, stacklevel=4)

    def _trainable(self) -> list[nn.Parameter]:
        """The parameters that may change.

        Raises:
            ValueError: those of this optimizer are not the model's; none is trainable.
        """
        named = self._named_parameters()
        held = {p for group in self.param_groups for p in group["params"]}
        foreign = held - set(named.values())
        if foreign:
            raise ValueError(
                f"{len(foreign)} of the {len(held)} parameters of this optimizer are not the model's: they belong to "
                "another module (a copy?), or load_state_dict(assign=True) has replaced them; make the optimizer anew"
            )
        trainable = [p for p in named.values() if p.requires_grad]
        if not trainable:
            raise ValueError(
                "no parameter of this optimizer is trainable; call requires_grad_(True) on some, or pass others"
            )
        return trainable

    def _named_parameters(self) -> Mapping[str, nn.Parameter]:
        """The parameters of this optimizer, by their names in the model."""
        chosen = {p for group in self.param_groups for p in group["params"]}
        return {name: p for name, p in self.model.named_parameters() if p in chosen}

    def __getstate__(self) -> dict[str, Any]:
        own = ("model", "loss", "right_inverse", "solver", "_warned")
        return {**super().__getstate__(), **{name: vars(self)[name] for name in own}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but what solvers remember keeps its own precision: torch would cast it to the parameters'."""
        super().load_state_dict(state_dict)
        saved = [i for group in state_dict["param_groups"] for i in group["params"]]
        ours = [p for group in self.param_groups for p in group["params"]]
        for index, p in zip(saved, ours, strict=True):
            memory = state_dict["state"].get(index, {}).get("solver")
            if memory is not None:
                self.state[p]["solver"] = {name: t.detach().clone().to(p.device) for name, t in memory.items()}


def _blame(inputs: Inputs, outputs: Tensor, targets: Tensor) -> str:
    named = [("inputs", t) for t in tree_leaves(inputs)]
    for what, tensor in (*named, ("targets", targets), ("outputs", outputs)):
        if not isinstance(tensor, Tensor):
            continue
        bad = (~torch.isfinite(tensor)).reshape(len(tensor), -1).any(-1).nonzero().flatten().tolist()
        if bad:
            rows = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
            advice = "lower the learning rate" if what == "outputs" else "remove or impute them"
            return f"{what} hold NaN or infinity in {len(bad)} of {len(tensor)} rows ({rows}); {advice}"
    return "the outputs are finite but too large; lower the learning rate"
