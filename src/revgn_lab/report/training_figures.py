"""Figures of losses and accuracies beyond those of `figures`, over steps, epochs and seconds.

As there, each takes the metrics of the runs and returns a `Figure` with one panel per setting.
"""

import pandas as pd

from revgn_lab.report.figures import EPOCH_MEANS, LOG_SPREAD, LOSS_SPREAD, SPREAD
from revgn_lab.report.panels import Figure, Line, loss_panels, panels, recorded

WORST_R2 = -1.0
"""R^2 has no lower end: what is worse is drawn at this height."""


def loss_on_test_rows(frame: pd.DataFrame) -> Figure:
    """Test loss over optimizer steps."""
    return Figure(
        name="test-loss-by-step",
        title="Test loss by step",
        caption=f"Loss on all test rows, before training and after epochs. {LOSS_SPREAD}",
        panels=loss_panels(frame, "test_loss", "optimizer step", "test loss", reduction="last"),
    )


def loss_on_test_rows_by_seconds(frame: pd.DataFrame) -> Figure:
    """Test loss over wall-clock time."""
    return Figure(
        name="test-loss-by-seconds",
        title="Test loss by wall-clock time",
        caption=f"The same against the time spent training, evaluation left out. {LOSS_SPREAD}",
        panels=loss_panels(
            frame, "test_loss", "training time (seconds)", "test loss", axis="seconds", reduction="last"
        ),
    )


def training_accuracy(frame: pd.DataFrame) -> Figure:
    """Training accuracy over optimizer steps."""
    return Figure(
        name="training-accuracy",
        title="Training accuracy",
        caption=f"Share of the rows of each step that are classified rightly, before it. {EPOCH_MEANS} {SPREAD}",
        panels=panels(frame, "accuracy", "optimizer step", "training accuracy (%)"),
    )


def accuracy_by_seconds(frame: pd.DataFrame) -> Figure:
    """Test accuracy over wall-clock time."""
    return Figure(
        name="test-accuracy-by-seconds",
        title="Test accuracy by wall-clock time",
        caption=f"Test accuracy against the time spent training, evaluation left out. {SPREAD}",
        panels=panels(
            frame,
            "test_accuracy",
            "training time (seconds)",
            "test accuracy (%)",
            axis="seconds",
            reduction="last",
        ),
    )


def change_norm(frame: pd.DataFrame) -> Figure:
    """Length of each step, relative to the parameters."""
    return Figure(
        name="change-norm",
        title="Norm of the steps",
        caption="Norm of the change of all parameters in a step, over their norm before it. "
        f"{EPOCH_MEANS} {LOG_SPREAD}",
        panels=panels(frame, "change_norm", "optimizer step", "relative norm of the step", log=True),
    )


def r2_on_test_rows(frame: pd.DataFrame) -> Figure:
    """R^2 on the test rows over epochs."""
    known = recorded(frame, "test_r2").clip(lower=WORST_R2)
    return Figure(
        name="test-r2",
        title="Test R2",
        caption="Share of the variance of the test rows that is explained: 1 at best, 0 for their mean. Values below "
        f"{WORST_R2:g} are drawn there. {SPREAD}",
        panels=panels(
            frame.assign(test_r2=known),
            "test_r2",
            "epoch",
            "test R2",
            axis="epoch",
            reduction="last",
            line=Line(0.0, "the mean of the test rows"),
        ),
    )
