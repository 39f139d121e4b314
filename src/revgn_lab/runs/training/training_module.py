"""What Lightning trains: one step of any optimizer, and what it records of it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from revgn import GaussNewton, Report
from revgn.diagnostics import loss_change
from revgn.losses import GaussNewtonLoss
from revgn_lab.runs.evaluation import score

Row = dict[str, float]


@dataclass(frozen=True)
class Switch:
    """After so many epochs all optimizers but the `first` few take over."""

    after_epochs: int
    first: int


class TrainingModule(pl.LightningModule):
    """A network, its loss and its optimizers, stepped by hand: Gauss-Newton does without autograd's backward.

    What it records of each step is described in `revgn_lab.runs.metrics_table.COLUMNS`.

    Args:
        model, loss: the network and what it is trained to make small.
        optimizers: each steps its own parameters, all with gradients taken at the same point.
        schedulers: of the learning rates, one for each optimizer or none, counted from the beginning of training.
        switch: when some of the optimizers take over from the others; None for never.
        classes: how many there are; None for regression.
        schedule_by: whether schedulers count epochs or steps.
        loss_after_step: whether to measure the loss on the same batch again after every step.
        controlled: whether Gauss-Newton's control judges its steps, which then tell the loss after them by themselves.
        exactness: whether to record the defect and the rank of every half-coupling that Gauss-Newton has solved.
        mine: gives those rows of a batch that Gauss-Newton is given in this process.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: GaussNewtonLoss,
        optimizers: Sequence[Optimizer],
        schedulers: Sequence[LRScheduler],
        *,
        switch: Switch | None = None,
        classes: int | None,
        schedule_by: str,
        loss_after_step: bool,
        controlled: bool = False,
        exactness: bool = False,
        mine: Callable[[Tensor], Tensor] = lambda rows: rows,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.loss = loss
        self.classes = classes
        self.steps = 0
        self.seconds = 0.0
        self.last_row: Row = {}
        self._optimizers = optimizers
        self._schedulers = schedulers
        self._switch = switch
        self._schedule_by = schedule_by
        self._loss_after_step = loss_after_step
        self._controlled = controlled
        self._exactness = exactness
        self._mine = mine

    def configure_optimizers(self) -> Any:
        return list(self._optimizers), list(self._schedulers)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        inputs, targets = batch
        optimizers = self._current_optimizers()
        lr = optimizers[0].param_groups[0]["lr"]
        before = [parameter.detach().clone() for parameter in self.model.parameters()]
        started = self._clock()
        if isinstance(optimizers[0].optimizer, GaussNewton):
            outputs, recorded = self._direction_step(optimizers[0], inputs, targets)
        else:
            outputs, recorded = self._gradient_step(optimizers, inputs, targets)
        self.seconds += self._clock() - started
        self.steps += 1
        row = {"epoch": self.current_epoch + 1, "seconds": self.seconds, "lr": lr, **recorded}
        row |= {"change_norm": _change_norm(before, list(self.model.parameters()))}
        row |= score(outputs, targets, self.classes)
        if self._loss_after_step and "loss_after" not in row:
            row |= _loss_after(row["loss"], self._measure_again(inputs, targets))
        self.record(row)
        self._schedule("step")

    def on_train_epoch_end(self) -> None:
        self._schedule("epoch")

    def record(self, row: Mapping[str, float]) -> None:
        """Hand metrics of the step just taken to all loggers."""
        self.last_row = dict(row)
        for logger in self.loggers:
            logger.log_metrics(self.last_row, self.steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = {"steps": self.steps, "seconds": self.seconds}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.steps = checkpoint["progress"]["steps"]
        self.seconds = checkpoint["progress"]["seconds"]

    def _current_optimizers(self) -> list[Any]:
        chosen: Any = self.optimizers()
        optimizers: list[Any] = chosen if isinstance(chosen, list) else [chosen]
        if self._switch is None:
            return optimizers
        is_after = self.current_epoch >= self._switch.after_epochs
        return optimizers[self._switch.first :] if is_after else optimizers[: self._switch.first]

    def _gradient_step(self, optimizers: Sequence[Any], inputs: Tensor, targets: Tensor) -> tuple[Tensor, Row]:
        """A step by gradients, for which an optimizer may ask more than once; what `_direction_step` returns too."""
        seen: list[tuple[float, Tensor]] = []

        def closure() -> Tensor:
            for optimizer in optimizers:
                optimizer.zero_grad()
            outputs = self.model(inputs)
            loss = self.loss(outputs, targets)
            value = loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss is {value}; lower the learning rate (optimizer.lr)")
            seen.append((value, outputs.detach()))
            loss.backward()
            return loss

        optimizers[0].step(closure)
        for other in optimizers[1:]:  # their gradients were taken by the closure, at the same point
            other.step()
        loss, outputs = seen[0]
        return outputs, {"loss": loss}

    def _direction_step(self, optimizer: Any, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Row]:
        """A step of an optimizer that finds its direction itself; the outputs before it, and what to record."""
        inputs, targets = self._mine(inputs), self._mine(targets)
        if self._controlled:
            report = optimizer.step(inputs=inputs, targets=targets)
        else:
            report = optimizer.optimizer.backward(inputs, targets)
            optimizer.step()
        row = {"loss": report.loss, "defect": report.defect, "exact": float(report.exact)}
        if self._exactness and report.block_weights:
            row |= _by_half_coupling("defect", report.defects) | _by_half_coupling("rank", report.ranks)
        return report.outputs, row | (_judgement(report) if self._controlled else {})

    @torch.no_grad()
    def _measure_again(self, inputs: Tensor, targets: Tensor) -> float:
        return float(self.loss(self.model(inputs), targets))

    def _schedule(self, moment: str) -> None:
        if self._schedule_by == moment:
            for scheduler in self._schedulers:
                scheduler.step()

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _judgement(report: Report) -> Row:
    """What a control has made of a step; a step that was taken back has left the loss as it was."""
    assert report.new_loss is not None
    measured = {name: getattr(report, name) for name in ("gain_ratio", "ridge", "effective_parameters")}
    return {
        **_loss_after(report.loss, report.new_loss if report.accepted else report.loss),
        "accepted": float(report.accepted),
        "length": report.length,
        "damping": report.damping,
        **{name: value for name, value in measured.items() if value is not None},
    }


def _loss_after(before: float, after: float) -> Row:
    return {"loss_after": after, "loss_change": loss_change(before, after)}


@torch.no_grad()
def _change_norm(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """||theta - theta_0|| / ||theta_0|| over all parameters; infinite from zero."""
    moved = [torch.linalg.vector_norm(p - p0, dtype=torch.float64) for p, p0 in zip(after, before, strict=True)]
    norms = [torch.linalg.vector_norm(p0, dtype=torch.float64) for p0 in before]
    return float(torch.stack(moved).norm() / torch.stack(norms).norm())


def _by_half_coupling(name: str, blocks: Sequence[tuple[float | None, ...] | None]) -> Row:
    """Columns NAME_1f, NAME_1g, ... of the blocks that were solved."""
    return {
        f"{name}_{number}{half}": float(value)
        for number, pair in enumerate(blocks, start=1)
        if pair is not None
        for half, value in zip("fg", pair, strict=True)
        if value is not None
    }
