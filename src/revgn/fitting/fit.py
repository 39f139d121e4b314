"""From a model and data to a fit."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from revgn.control import Ridge
from revgn.fitting.endings import TOLERANCE, Judge, relative_gradient, relative_step
from revgn.fitting.result import Fit
from revgn.linear import Inputs
from revgn.linear.functional import call, full_precision, pull_back
from revgn.losses import GaussNewtonLoss
from revgn.optim import GaussNewton, LevenbergMarquardt, Report
from revgn.optim.residuals import Residuals
from revgn.optim.sharing import processes_of
from revgn.optim.wrappers import unwrapped


def fit(
    model: nn.Module,
    loss: GaussNewtonLoss | nn.Module | None = None,
    inputs: Inputs = None,
    targets: Tensor | None = None,
    *,
    residuals: Residuals | None = None,
    sample_weight: Tensor | None = None,
    optimizer: GaussNewton | None = None,
    max_steps: int = 200,
    tolerance: float | None = None,
    progress: bool | None = None,
    callbacks: Sequence[Callable[[Report], bool | None]] = (),
) -> Fit:
    """Fit a model to all of the data at once, by Levenberg-Marquardt, to a named ending.

        fit = revgn.fit(model, revgn.losses.MSELoss(), inputs, targets)
        print(fit)
        mean, std = fit.predict(new_inputs, std=True)

    It ends as `converged` when a relative gradient, a relative step or a relative decrease of the loss falls below the
    tolerance (its square for the decrease), or, where `control.Ridge` chooses its strength, when generalised
    cross-validation has not improved by 1 % in 5 steps: its best step is then restored; as `stalled` when no damping
    lowers the loss, or 50 steps have lowered it by less than 1e-6; as `max_steps`, `not_finite`, or `stopped` by a
    callback. Interrupted by Ctrl-C it ends as `stopped` after the last whole step.

    Args:
        model: any module; its parameters are changed in place.
        loss: as in `GaussNewton`; None: `MSELoss()`, or what the optimizer has.
        inputs: (n, ...), all rows at once; with `residuals` the batch.
        targets: as the loss takes them; None with `residuals`.
        residuals: residuals(model, batch), see `LevenbergMarquardt`.
        sample_weight: (n,), how much each row counts; None: all alike.
        optimizer: None: `LevenbergMarquardt(model, loss, residuals=residuals)`; or one of the model's, with a control.
        max_steps: the most steps.
        tolerance: None: 1e-8 in float64, 1e-4 in float32.
        progress: whether to show a bar with loss, damping and time left (by tqdm); None: on a terminal, where tqdm is
            installed.
        callbacks: called with the `Report` of each step; one that returns True ends the fit.

    Returns:
        The `Fit`: ending, history, standard errors, predictions; `print` shows it.

    Raises:
        ValueError, TypeError: as `LevenbergMarquardt`; optimizer given beside loss or residuals of another.
        FloatingPointError: the loss is not finite at the start.
    """
    model, group = unwrapped(model)
    optimizer = _optimizer(model, loss, residuals, optimizer)
    if processes_of(group) is not None or optimizer.processes is not None:
        raise ValueError("fit runs in one process; take the steps of several by optimizer.step(inputs, targets)")
    if inputs is None:
        raise ValueError("no inputs; expected fit(model, loss, inputs, targets), or inputs= with residuals=")
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    dtype = next(iter(parameters.values())).dtype if parameters else torch.float64
    scored = isinstance(optimizer.control, Ridge) and optimizer.control.chooses
    judge = Judge(TOLERANCE.get(dtype, 1e-8) if tolerance is None else tolerance, parameters, scored)
    history: list[dict[str, Any]] = []
    ending, reason = "max_steps", ""
    report: Report | None = None
    start = time.perf_counter()
    bar = _bar(progress, max_steps)
    try:
        for index in range(max_steps):
            before = {name: p.detach().clone() for name, p in parameters.items()}
            report = optimizer.step(inputs, targets, sample_weight)
            assert report is not None
            after = {name: p.detach() for name, p in parameters.items()}
            step = relative_step(before, after)
            gradient = _gradient(optimizer, after, inputs, targets, sample_weight, report)
            history.append(_record(index, report, step, gradient, time.perf_counter() - start))
            if bar is not None:
                bar.set_postfix(loss=f"{history[-1]['loss']:.3g}", damping=f"{report.damping:.1g}", refresh=False)
                bar.update()
            asked_to_stop = [callback(report) for callback in callbacks]  # all of them see every step
            over = judge.ending(report, step, gradient) or (("stopped", "callback") if any(asked_to_stop) else None)
            if over is not None:
                ending, reason = over
                break
    except KeyboardInterrupt:
        ending, reason = "stopped", "interrupted"
    finally:
        if bar is not None:
            bar.close()
        if judge.best is not None:
            values, report = judge.best
            with torch.no_grad():
                for name, value in values.items():
                    parameters[name].copy_(value)
    return Fit(
        model=model,
        optimizer=optimizer,
        inputs=inputs,
        targets=targets,
        sample_weight=sample_weight,
        ending=ending,
        reason=reason,
        history=history,
        report=report,
        seconds=time.perf_counter() - start,
    )


def _optimizer(
    model: nn.Module,
    loss: GaussNewtonLoss | nn.Module | None,
    residuals: Residuals | None,
    optimizer: GaussNewton | None,
) -> GaussNewton:
    if optimizer is None:
        return LevenbergMarquardt(model, loss, residuals=residuals)
    if optimizer.model is not model:
        raise ValueError("the optimizer is of another model; expected one that was made with this model")
    if loss is not None and loss is not optimizer.loss:
        raise ValueError("loss and optimizer given, with different losses; give the loss to the optimizer alone")
    if residuals is not None:
        raise ValueError("residuals and optimizer given; expected LevenbergMarquardt(model, residuals=...) alone")
    return optimizer


def _gradient(
    optimizer: GaussNewton,
    parameters: dict[str, Tensor],
    inputs: Inputs,
    targets: Tensor | None,
    sample_weight: Tensor | None,
    report: Report,
) -> float:
    """The relative gradient where the step has led; infinite where the last decrease says that it is not small."""
    if not report.loss - report.predicted_loss <= 1e-2 * report.loss:
        return float("inf")
    loss = report.new_loss if report.accepted else report.loss
    assert loss is not None
    function, inputs = optimizer.called(inputs)
    moving = optimizer.trainable()
    with full_precision(next(iter(moving.values())).device), torch.enable_grad():
        outputs = call(function, inputs)
        targets = torch.zeros_like(outputs) if targets is None else targets
        value = optimizer.loss.mean(outputs, targets, sample_weight)
        found = pull_back(value, tuple(moving.values()), torch.ones_like(value))
    gradients = dict(zip(moving, found, strict=True))
    return relative_gradient({name: parameters[name] for name in moving}, gradients, loss)


def _record(index: int, report: Report, step: float, gradient: float, seconds: float) -> dict[str, Any]:
    return {
        "step": index + 1,
        "loss": report.new_loss if report.accepted else report.loss,
        "gain_ratio": report.gain_ratio,
        "damping": report.damping,
        "length": report.length,
        "attempts": report.attempts,
        "status": report.status,
        "relative_step": step,
        "relative_gradient": gradient,
        "seconds": seconds,
        "phases": report.seconds,
    }


def _bar(progress: bool | None, max_steps: int) -> Any:
    if progress is False or (progress is None and not sys.stderr.isatty()):
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        if progress:
            raise ImportError("a progress bar needs tqdm: pip install tqdm, or progress=False") from None
        return None
    return tqdm(total=max_steps, desc="fit", unit="step", leave=False)
