"""Figures of Theorem 4.3: the losses of any two right inverses are the same up to O(lr)."""

import math

import numpy as np
import pandas as pd

from revgn_lab.claims.trajectories import gaps, order
from revgn_lab.report.curves import Curve
from revgn_lab.report.figures import LOG_SPREAD
from revgn_lab.report.panels import Figure, Panel, panels

THEORETICAL = ("J^+ (dense)", "J^+ (tangent kernel)")
"""Labels of the theoretical step, by the matrix that it was made from: what the others are compared with."""
GUIDE = "slope 1"


def loss_by_time(frame: pd.DataFrame) -> Figure:
    """Training loss over lr * step, the time of the flow that steps follow."""
    return Figure(
        name="training-loss-by-time",
        title="Training loss by time lr * step",
        caption="Steps of length lr follow the same flow for as long: the loss before each step, against lr times the "
        f"number of steps before it. {LOG_SPREAD}",
        panels=panels(
            frame.assign(time=frame["lr"] * (frame["step"] - 1)),
            "loss",
            "time (learning rate * step)",
            "training loss",
            axis="time",
            log=True,
        ),
    )


def gap_by_learning_rate(frame: pd.DataFrame) -> Figure:
    """Largest distance between the loss curves of the practical steps and of the theoretical one, over lr."""
    return Figure(
        name="gap-by-learning-rate",
        title="How far right inverses part, by learning rate",
        caption="Largest distance between the training loss curve of a step and that of J^+, relative to "
        "the loss at the start, with the exponent fitted in the logarithms. The theorem bounds it by O(lr): a slope of "
        "1, as the dotted guide has it, or more. Line: geometric mean over seeds; band: smallest to largest.",
        panels=_gap_panels(frame),
    )


def _gap_panels(frame: pd.DataFrame) -> tuple[Panel, ...]:
    """One panel for each data set: the settings are the learning rates."""
    groups = frame.groupby("dataset", sort=False) if "dataset" in frame else [("", frame)]
    found = [_gap_panel(str(dataset), runs) for dataset, runs in groups]
    return tuple(panel for panel in found if panel.curves)


def _gap_panel(title: str, frame: pd.DataFrame) -> Panel:
    names = [str(name) for name in frame["optimizer"].unique()]
    theoretical = next((name for name in THEORETICAL if name in names), "")
    tables = {name: gaps(frame, name, theoretical) for name in names if name != theoretical}
    drawn = [_gap_curve(name, table) for name, table in tables.items() if (table["gap"] > 0).any()]
    curves = (*drawn, _guide(drawn)) if drawn else ()
    return Panel(title, "learning rate", f"largest relative gap to {theoretical}", True, curves, log_x=True)


def _gap_curve(name: str, table: pd.DataFrame) -> Curve:
    values = table.loc[table["gap"] > 0].pivot_table(index="lr", columns="seed", values="gap")
    known = values.to_numpy(dtype=np.float64)
    slope = order(table)
    return Curve(
        name=name,
        x=np.asarray(values.index, dtype=np.float64),
        mean=np.exp(np.nanmean(np.log(known), axis=1)),
        low=np.nanmin(known, axis=1),
        high=np.nanmax(known, axis=1),
        seeds=known.shape[1],
        note="" if math.isnan(slope) else f"slope {slope:.2f}",
    )


def _guide(drawn: list[Curve]) -> Curve:
    """A line of slope 1 just below all others."""
    x = np.unique(np.concatenate([curve.x for curve in drawn]))[[0, -1]]
    height = 0.5 * min(float((curve.low / curve.x).min()) for curve in drawn)
    return Curve(GUIDE, x, height * x, height * x, height * x, seeds=1)
