"""A step on trial: taken by the optimizer itself, measured, and taken back to the bit."""

import dataclasses
import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from revgn.control import Attempt
from revgn.linear.functional import call, plain_kernels
from revgn.optim.clock import Clock
from revgn.optim.linearization import Candidate, Linearization
from revgn.optim.sgd_step import sgd_step

NO_STEP = "no step is finite, however much damped; check the inputs for infinity, and their scale"


class OptimizerTrial:
    """Tries steps of one linearisation, each from the same parameters, buffers and optimizer state.

    Attributes:
        attempts: how many steps were tried.
        clock: of the step.

    Args:
        linearization: the loss at the batch, of the parameters as they are.
        optimizer: whose parameters, state and `.grad` a step changes.
        clock: of the step, counts the phases "solve" and "try".
        last: whether all attempts have the same damping, so that the linearisation need not be kept.
    """

    def __init__(
        self,
        linearization: Linearization,
        optimizer: torch.optim.SGD,
        clock: Clock,
        *,
        last: bool,
    ) -> None:
        self._linearization = linearization
        self.clock = clock
        self._optimizer, self._last = optimizer, last
        self._parameters: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
        self._values = [p.detach().clone() for p in self._parameters]
        self._grads = [p.grad for p in self._parameters]
        self._buffers = [(b, b.detach().clone()) for b in linearization.model.buffers()]
        self._state = {p: deepcopy(held) for p, held in optimizer.state.items()}
        self._candidate: Candidate | None = None
        self._away = False  # whether the parameters have left the place where the step begins
        self._stands: Attempt | None = None
        self._tried: list[Attempt] = []
        self.attempts = 0
        self._moved = linearization.outputs  # of no meaning before the first attempt

    @property
    def loss(self) -> float:
        return self._linearization.value

    @property
    def rows(self) -> int:
        return len(self._linearization.outputs)

    @property
    def shape(self) -> tuple[int, int]:
        return self._linearization.shape

    @property
    def smallest(self) -> float:
        return torch.finfo(self._linearization.outputs.dtype).eps

    def attempt(self, length: float = 1.0, damping: float | None = None, *, shrink: bool = False) -> Attempt:
        self._step_back()
        self.attempts += 1
        try:
            with self.clock.phase("solve"):
                candidate = self._made(damping, shrink=shrink)
        except FloatingPointError:
            if self._last:  # no other length makes it finite
                raise
            return Attempt(length, damping, self.loss, math.nan, math.nan, shrink)
        with self.clock.phase("try"):
            self._take(candidate, length)
            lin = self._linearization
            self._moved = self._moved_by_step(candidate, length)
            with torch.no_grad(), plain_kernels(lin.model):
                loss = lin.loss_of(call(lin.model, lin.inputs))
            predicted = lin.loss_of(lin.outputs - self._moved)
        squared_norm = self._squared_norm() if shrink else math.nan
        self._stands = Attempt(length, damping, self.loss, loss, predicted, shrink, squared_norm)
        self._tried.append(self._stands)
        return self._stands

    @property
    def tried(self) -> list[Attempt]:
        """The attempts whose steps were finite.

        Raises:
            FloatingPointError: there is none.
        """
        if not self._tried:
            raise FloatingPointError(NO_STEP)
        return self._tried

    @property
    def candidate(self) -> Candidate:
        """The change of the attempt that was made last.

        Raises:
            FloatingPointError: none was finite.
        """
        if self._candidate is None:
            raise FloatingPointError(NO_STEP)
        return self._candidate

    def _made(self, damping: float | None, *, shrink: bool) -> Candidate:
        """The change at that damping, made once for all lengths; J Delta of all rows is known of it."""
        if self._candidate is None or (self._candidate.damping, self._candidate.shrink) != (damping, shrink):
            made = self._linearization.candidate(damping, last=self._last, shrink=shrink)
            if made.moved is None:
                made = dataclasses.replace(made, moved=self._linearization.moved_by(made.change.by_parameter))
            self._candidate = made
        return self._candidate

    def slope(self) -> float:
        lin = self._linearization
        outputs = lin.outputs.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(lin.loss.mean(outputs, lin.targets, lin.sample_weight), outputs)
        return -float((gradient.double() * self._moved.double()).sum())

    def predicted_loss(self, factor: float) -> float:
        return self._linearization.loss_of(self._linearization.outputs - factor * self._moved)

    def spectrum(self) -> tuple[Tensor, Tensor]:
        self._step_back()
        with self.clock.phase("solve"):
            return self._linearization.spectrum()

    def squared_norm(self) -> float:
        self._step_back()
        return self._squared_norm()

    def settle(self, attempt: Attempt | None) -> None:
        """Leave the parameters where the attempt led; None: everything as it was before, `.grad` too."""
        if attempt is not None and attempt is self._stands:
            return
        if attempt is not None:
            self._step_back()
            self._take(self._made(attempt.damping, shrink=attempt.shrinks), attempt.length)
            return
        self._put_back()  # what was kept itself: there may be no room for another copy
        for p, grad in zip(self._parameters, self._grads, strict=True):
            p.grad = grad
        self._optimizer.state.clear()
        self._optimizer.state.update(self._state)

    @torch.no_grad()
    def _put_back(self) -> None:
        """Parameters and buffers as they were before the first attempt."""
        self._away, self._stands = False, None
        self._put(self._values)
        for buffer, value in self._buffers:
            buffer.copy_(value)

    def _step_back(self) -> None:
        """Parameters, buffers and momentum as they were before the first attempt; what solvers have learnt stays."""
        if not self._away:
            return
        self._put_back()
        for p, held in list(self._optimizer.state.items()):
            learnt = {"solver": held["solver"]} if "solver" in held else {}
            before = {name: t for name, t in self._state.get(p, {}).items() if name != "solver"}
            self._optimizer.state[p] = deepcopy(before) | learnt

    def _take(self, candidate: Candidate, length: float) -> None:
        made = candidate.change.by_parameter
        for p in self._parameters:
            moved = made.get(p)
            p.grad = torch.zeros_like(p) if moved is None else moved if length == 1.0 else length * moved
        self._away = True
        sgd_step(self._optimizer)

    def _moved_by_step(self, candidate: Candidate, length: float) -> Tensor:
        """J times the displacement that the step really was, (n, d_out)."""
        rates = {group["lr"] for group in self._optimizer.param_groups}
        plain = all(not group["momentum"] and not group["weight_decay"] for group in self._optimizer.param_groups)
        if plain and len(rates) == 1:
            assert candidate.moved is not None
            return float(rates.pop()) * length * candidate.moved
        there = [p.detach().clone() for p in self._parameters]
        displaced = {p: a - b for p, a, b in zip(self._parameters, self._values, there, strict=True) if p.requires_grad}
        self._put(self._values)  # J is that of the parameters where the step began
        moved = self._linearization.moved_by(displaced)
        self._put(there)
        return moved

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for p, value in zip(self._parameters, values, strict=True):
            p.copy_(value)

    def _squared_norm(self) -> float:
        moving = [p.detach() for p in self._parameters if p.requires_grad]
        return float(torch.stack([torch.linalg.vector_norm(p, dtype=torch.float64) for p in moving]).square().sum())
