"""The figures of a set of runs: what each one shows, ready to be drawn by plotly or by matplotlib.

Each function takes the metrics of the runs, one row per step with columns setting, optimizer and seed beside those of
`run`, and returns a `Figure` with one panel per setting. `revgn_lab.report.drawing` makes pictures of it.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from revgn_lab.report.curves import SMALLEST
from revgn_lab.report.panels import LARGEST_RISE, Figure, Line, loss_panels, panels

LARGEST_CHANGE = 100.0
"""Percent: losses that rise by more are drawn at this height, lest one bad step flatten all the others."""
FLOAT32_EXACT = 1e-3
"""The defect up to which `Report.exact` calls a float32 step exact."""


def figures(frame: pd.DataFrame) -> list[Figure]:
    """All figures that these runs have data for."""
    makers: Sequence[Callable[[pd.DataFrame], Figure]] = (
        loss_by_step,
        loss_by_seconds,
        accuracy_by_epoch,
        loss_change,
        defect,
    )
    made = (make(frame) for make in makers)
    return [figure for figure in made if figure.panels]


def loss_by_step(frame: pd.DataFrame) -> Figure:
    """Training loss over optimizer steps."""
    return Figure(
        name="training-loss-by-step",
        title="Training loss by step",
        caption=f"Loss on the rows of each step, before it. {EPOCH_MEANS} {LOSS_SPREAD}",
        panels=loss_panels(frame, "loss", "optimizer step", "training loss"),
    )


def loss_by_seconds(frame: pd.DataFrame) -> Figure:
    """Training loss over wall-clock time."""
    return Figure(
        name="training-loss-by-seconds",
        title="Training loss by wall-clock time",
        caption="The same against the time spent training, evaluation left out. Seeds are aligned by step and drawn at "
        f"their mean time there. {LOSS_SPREAD}",
        panels=loss_panels(frame, "loss", "training time (seconds)", "training loss", axis="seconds"),
    )


def accuracy_by_epoch(frame: pd.DataFrame) -> Figure:
    """Test accuracy over epochs."""
    return Figure(
        name="test-accuracy",
        title="Test accuracy",
        caption=f"Share of the test rows that are classified rightly, after the epoch. {SPREAD}",
        panels=panels(frame, "test_accuracy", "epoch", "test accuracy (%)", axis="epoch", reduction="last"),
    )


def loss_change(frame: pd.DataFrame) -> Figure:
    """Change of the loss on the very rows that a step was taken for."""
    change = 100 * (frame["loss_after"] - frame["loss"]) / frame["loss"].where(frame["loss"] > 0)
    return Figure(
        name="loss-change",
        title="Loss change on the same rows",
        caption="100 (after - before) / before, both on the rows that the step was taken for: -100 % is a loss brought "
        "to zero. For mini-batches the median over the steps of the epoch. Rises above "
        f"{LARGEST_CHANGE:+.0f} % are drawn there. {SPREAD}",
        panels=panels(
            frame.assign(loss_change=change.clip(upper=LARGEST_CHANGE)),
            "loss_change",
            "optimizer step",
            "loss change (%)",
            reduction="median",
            line=Line(0.0, "no change"),
        ),
    )


def defect(frame: pd.DataFrame) -> Figure:
    """The measured defect of the Gauss-Newton steps."""
    return Figure(
        name="defect",
        title="Defect of the Gauss-Newton step",
        caption="Relative error with which the applied step moves the outputs as asked, measured at every step; for "
        f"mini-batches the worst of the epoch. Up to {FLOAT32_EXACT:g} a float32 step counts as exact. {LOG_SPREAD}",
        panels=panels(
            frame,
            "defect",
            "optimizer step",
            "relative defect",
            reduction="max",
            log=True,
            line=Line(FLOAT32_EXACT, "exact up to here"),
        ),
    )


def overview(frame: pd.DataFrame) -> Figure:
    """Training loss and test accuracy of every setting in one picture."""
    loss, accuracy = loss_by_step(frame), accuracy_by_epoch(frame)
    return Figure(
        name="overview",
        title="Training loss and test accuracy",
        caption=f"Top: {loss.caption} Bottom: {accuracy.caption}",
        panels=loss.panels + accuracy.panels,
    )


EPOCH_MEANS = "For mini-batches the mean over the steps of the epoch."
SPREAD = "Line: mean over seeds; band: smallest to largest."
_GEOMETRIC = "Line: geometric mean over seeds; band: smallest to largest"
LOG_SPREAD = f"{_GEOMETRIC}; values below {SMALLEST:g} are drawn there."
LOSS_SPREAD = f"{_GEOMETRIC}; values below {SMALLEST:g} or above {LARGEST_RISE:g} times the first are drawn there."
