"""Exact Gauss-Newton as a torch optimizer: a change of our own in the place of the gradient."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from revgn.control import Control, Fixed, Ridge
from revgn.linear import Inputs, LinearMap
from revgn.linear.functional import full_precision
from revgn.losses import GaussNewtonLoss, from_torch
from revgn.losses.checks import without_zero_weights
from revgn.optim.batches import require_batch
from revgn.optim.clock import Clock
from revgn.optim.gradients import gradients
from revgn.optim.linearization import Linearization
from revgn.optim.parameters import require_parameters, require_shards_fit, trainable_of
from revgn.optim.sgd_step import NO_SCALER, apply_change
from revgn.optim.sharing import processes_around, processes_of, require_same_parameters, share
from revgn.optim.solver_memory import remembered
from revgn.optim.spring import carried, require_momentum
from revgn.optim.state_dicts import checked, restore_memory
from revgn.optim.step_report import Report, make_report
from revgn.optim.trial import OptimizerTrial
from revgn.optim.wrappers import unwrapped
from revgn.right_inverses import Change, MoorePenrose, Reversible, RightInverse, find_right_inverse
from revgn.solvers import Eigh, Factor, Solver
from revgn.solvers.solver import State


class GaussNewton(torch.optim.SGD):
    """theta <- theta - lr Delta with J Delta = r: exact Gauss-Newton for any module.

    J is the Jacobian of the outputs by all parameters, r the change of the outputs that the loss asks for (for squared
    error the residual). `backward` writes Delta into `.grad`, in place of `loss.backward()`, and torch's own SGD
    applies it, so that momentum, weight decay, parameter groups, learning rate schedulers and `state_dict` are torch's.

        for inputs, targets in loader:
            report = optimizer.backward(inputs, targets)
            optimizer.step()

    In one call, with a control that shortens, lengthens or damps the step, and takes it back if the loss rises:

        optimizer = GaussNewton(model, loss, control=revgn.control.LineSearch())
        report = optimizer.step(inputs, targets)

    Which Delta of the many that move the outputs by r is the choice of the right inverse, and decides how well the
    network generalises: see `revgn.right_inverses`. Whether J Delta = r is measured at every step, on the model's own
    forward pass: `Report.exact`. On mini-batches the step solves each batch and forgets the others, but for what
    `right_inverse="adjoint", solver=revgn.solvers.RunningCurvature()` or `momentum=0.9, spring=True` remember.

    Args:
        model: any module whose rows do not depend on each other, with outputs (n, d_out); what `torch.compile` and
            data parallelism have put around it is taken off.
        loss: from `revgn.losses`, a `GaussNewtonLoss` of your own, or one of `torch.nn` that is the same up to a
            factor: see `revgn.losses.from_torch`.
        lr: 1 is the full Newton step.
        right_inverse: "reversible", "adjoint", "moore-penrose", or an object of `revgn.right_inverses`; None:
            "reversible" for a `ReversibleNetwork`, "moore-penrose" for any other module.
        solver: of the linear equations; None: the right inverse's own choice, `Cholesky()` as a rule.
        block_weights, keep_features, chunk_rows: of `revgn.right_inverses.Reversible`.
        control: from `revgn.control`, judges the steps of `step(inputs, targets)`; None: `Fixed()`.
        params: a part of the model's parameters, or parameter groups; None: all that are trainable. See `backward`
            for the others.
        momentum, dampening, weight_decay, nesterov: as in `torch.optim.SGD`.
        spring: whether what momentum moves already is not asked of the step again: d <- mu d + J^+ (r - mu J d) for
            momentum mu, in place of d <- mu d + J^+ r. The step is then as exact as without momentum, which keeps what
            earlier mini-batches have asked for where this one says nothing. Costs a JVP.
        group: of processes that take the same steps, each with the rows that its `inputs` hold, any number of them;
            None: that of a `DistributedDataParallel` which is the model, or in whose forward pass the step is taken (as
            Lightning does), or this process alone. The step is that of all rows together, and `Report.outputs` those of
            all rows, in the order of the processes.

    Raises:
        TypeError: the model is no module, or not reversible where that is asked; the loss is none of these.
        ValueError: an option out of range; parameters that are not float32 or float64; parameters that the right
            inverse cannot change.

    Source: Buffelli et al., NeurIPS 2024, arXiv 2411.07979; Schraudolph (2002) for losses with a curvature;
    Goldshlager, Abrahamsen, Lin (2024) for spring.
    """

    # What copies and pickles carry beside torch's own.
    _OWN: ClassVar[tuple[str, ...]] = (
        "model", "loss", "right_inverse", "solver", "control", "geodesic", "spring", "processes", "_seen",
    )  # fmt: skip

    def __init__(
        self,
        model: nn.Module,
        loss: GaussNewtonLoss | nn.Module,
        lr: float = 1.0,
        *,
        right_inverse: RightInverse | str | None = None,
        solver: Solver | None = None,
        block_weights: str | Sequence[float] = "exact",
        keep_features: bool = True,
        chunk_rows: int | None = None,
        control: Control | None = None,
        params: Iterable[Any] | None = None,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        spring: bool = False,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
        self.model, found = unwrapped(model)
        model = self.model
        self.processes = processes_of(found if group is None else group)
        self.loss = from_torch(loss)
        given = {"block_weights": block_weights, "keep_features": keep_features, "chunk_rows": chunk_rows}
        options = {name: value for name, value in given.items() if value != getattr(Reversible(), name)}
        self.right_inverse = find_right_inverse(right_inverse, model, **options)
        self.control = Fixed() if control is None else control
        self.geodesic: bool | None = False
        if spring:
            require_momentum(momentum, dampening, nesterov)
        self.spring = spring
        if isinstance(self.control, Ridge):
            if not isinstance(self.right_inverse, MoorePenrose):
                raise ValueError("control Ridge needs the tangent kernel; use right_inverse='moore-penrose'")
            solver = Eigh() if solver is None else solver
        self.solver = solver
        self._seen: set[str] = set()  # "change" made, "warning" given; Lightning's wrapper shares it with the optimizer
        if params is None:
            params = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )
        require_parameters(self._named_parameters())
        require_shards_fit(self._named_parameters().values(), self.right_inverse, self.processes)
        self.right_inverse.check(model, [p for p in self._named_parameters().values() if p.requires_grad])

    def backward(self, inputs: Inputs, targets: Tensor, sample_weight: Tensor | None = None) -> Report:
        """Write the change into every parameter's `.grad`, in place of `loss.backward()`; then call `step()`.

        What stands in `.grad` is then not the gradient but Delta with J Delta = r, zero for parameters that the step
        leaves alone. Whatever stood there is replaced: steps do not accumulate. Trainable parameters of the model that
        are not this optimizer's get their true gradients, for another optimizer to step.

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
        own, linearization, report = self._step(inputs, targets, sample_weight)
        others = [p for p in self.model.parameters() if p.requires_grad and p not in own]
        batch = linearization.inputs, linearization.targets, linearization.sample_weight
        for parameter, written in (own | gradients(self.model, self.loss, others, *batch)).items():
            parameter.grad = written
        return report

    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        inputs: Any = None,
        targets: Tensor | None = None,
        sample_weight: Tensor | None = None,
        *,
        closure: Any = None,
    ) -> Any:
        """Take a whole step that the control judges; without arguments apply what `backward` wrote.

        The loss after the step is measured on the same batch. A step that is not accepted is taken back: parameters,
        buffers, optimizer state and `.grad` are then what they were, to the bit.

        Args:
            inputs: as in `backward`; None: apply what `backward` wrote.
            targets: as in `backward`.
            sample_weight: as in `backward`.
            closure: torch's, for callers that hand one to every optimizer.

        Returns:
            The `Report`, with `new_loss`, `gain_ratio` and `status`; None without arguments.

        Raises:
            ValueError, TypeError, FloatingPointError: as `backward`; then nothing was changed.
            RuntimeError: without arguments, where gradients stand in `.grad` and `backward` has written nothing yet.
        """
        if inputs is None or callable(inputs):
            return apply_change(self, inputs if closure is None else closure, self._seen)
        with full_precision(self.param_groups[0]["params"][0].device), remembered(self):
            clock = Clock()
            with clock.phase("linearize"):
                linearization = self._linearize(inputs, targets, sample_weight)
            trial = OptimizerTrial(linearization, self, clock, last=not self.control.damps)
            memory = self.param_groups[0].setdefault("control", {})
            try:
                accepted = self.control.decide(trial, memory)
                trial.settle(accepted)
                report = make_report(linearization, trial.candidate, self.solver).judged(trial, accepted, memory)
            except BaseException:
                trial.settle(None)
                raise
            self._warn_once(trial.candidate.change)
        return report

    def direction(self, inputs: Inputs, targets: Tensor, sample_weight: Tensor | None = None) -> dict[str, Tensor]:
        """The change by parameter name, as `backward` would write it, without touching `.grad`."""
        made, *_ = self._step(inputs, targets, sample_weight)
        return {name: made[p] for name, p in self._named_parameters().items()}

    def called(self, inputs: Inputs) -> tuple[nn.Module, Inputs]:
        """The module whose outputs the loss sees, and what it is called with."""
        return self.model, inputs

    def _step(
        self, inputs: Inputs, targets: Tensor, sample_weight: Tensor | None
    ) -> tuple[dict[nn.Parameter, Tensor], Linearization, Report]:
        with full_precision(self.param_groups[0]["params"][0].device), remembered(self):
            linearization = self._linearize(inputs, targets, sample_weight)
            candidate = linearization.candidate(last=True)
            rates = {p: float(group["lr"]) for group in self.param_groups for p in group["params"]}
            predicted = linearization.predicted_loss(candidate, rates)
            made = candidate.change.by_parameter
            written = {p: made[p] if p in made else torch.zeros_like(p) for p in self._named_parameters().values()}
        self._warn_once(candidate.change)
        return written, linearization, make_report(linearization, candidate, self.solver, predicted)

    def _linearize(self, inputs: Inputs, targets: Tensor | None, sample_weight: Tensor | None) -> Linearization:
        processes = self.processes or processes_around(self.model)
        if processes is None:
            targets = require_batch(inputs, targets)
        else:
            inputs, targets, sample_weight = share(processes, inputs, targets, sample_weight)
            if "change" not in self._seen:
                require_same_parameters(processes, self.model.parameters())
        kept = without_zero_weights(inputs, targets, sample_weight, self.loss.own_weight(targets))
        return self._linearization_of(*kept)

    def _linearization_of(self, inputs: Inputs, targets: Tensor | None, sample_weight: Tensor | None) -> Linearization:
        function, inputs = self.called(inputs)
        parameters = self.trainable()
        require_parameters(parameters)
        self._seen.add("change")
        return Linearization(
            function,
            self.loss,
            self.right_inverse,
            parameters,
            self._factor,
            inputs,
            targets,
            sample_weight,
            carried=carried(self, parameters.values()) if self.spring else None,
            geodesic=self.geodesic,
            memory=self._memory,
        )

    def _factor(self, map: LinearMap, key: nn.Parameter) -> Factor:
        solver = self.right_inverse.default_solver(map) if self.solver is None else self.solver
        return solver.factor(map, self._memory(key) if solver.remembers else None)

    def _memory(self, key: nn.Parameter) -> State:
        return self.state[key].setdefault("solver", {})

    def _warn_once(self, change: Change) -> None:
        if change.warning is not None and "warning" not in self._seen and not self.control.damps:
            self._seen.add("warning")
            warnings.warn(change.warning, stacklevel=4)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that may change, by their names in the model.

        Raises:
            ValueError: those of this optimizer are not the model's; none is trainable.
        """
        held = {p for group in self.param_groups for p in group["params"]}
        return trainable_of(held, self._named_parameters())

    def _named_parameters(self) -> Mapping[str, nn.Parameter]:
        """The parameters of this optimizer, by their names in the model."""
        chosen = {p for group in self.param_groups for p in group["params"]}
        return {name: p for name, p in self.model.named_parameters() if p in chosen}

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {name: vars(self)[name] for name in self._OWN}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but solvers' memory keeps its precision, and a damaged state is refused and changes nothing."""
        super().load_state_dict(checked(self, state_dict))
        restore_memory(self, state_dict)

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Asked by `torch.amp.GradScaler.step`, which would divide the change by the scale of a loss."""
        raise TypeError(NO_SCALER)
