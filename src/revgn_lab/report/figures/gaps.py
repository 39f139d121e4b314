"""Figures of Theorem 4.3: the losses of any two right inverses are the same up to O(lr)."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from revgn_lab.claims.trajectories import gaps, order
from revgn_lab.report.figures.curves import Curve, over_seeds
from revgn_lab.report.figures.panels import Panel, Specification

THEORETICAL = ("J^+ (dense)", "J^+ (tangent kernel)")
"""Labels of the theoretical step, by the matrix that it was made from: what the others are compared with."""
GUIDE = "slope 1"


def gaps_by_rate(frame: pd.DataFrame, shown: Specification) -> tuple[Panel, ...]:
    """The gap to the theoretical step over lr, a panel for each data set: the settings are the learning rates."""
    groups = frame.groupby("dataset", sort=False) if "dataset" in frame else [("", frame)]
    found = [_panel(str(dataset), runs, shown) for dataset, runs in groups]
    return tuple(panel for panel in found if panel.curves)


def _panel(title: str, frame: pd.DataFrame, shown: Specification) -> Panel:
    names = [str(name) for name in frame["optimizer"].unique()]
    theoretical = next((name for name in THEORETICAL if name in names), "")
    tables = {name: gaps(frame, name, theoretical) for name in names if name != theoretical}
    drawn = [_curve(name, table) for name, table in tables.items() if (table["gap"] > 0).any()]
    curves = (*drawn, _guide(drawn)) if drawn else ()
    return Panel(title, "learning rate", f"{shown.label} to {theoretical}", shown.log, curves, log_x=True)


def _curve(name: str, table: pd.DataFrame) -> Curve:
    values = table.loc[table["gap"] > 0].pivot_table(index="lr", columns="seed", values="gap")
    slope = order(table)
    return replace(over_seeds(name, values, log=True), note="" if math.isnan(slope) else f"slope {slope:.2f}")


def _guide(drawn: list[Curve]) -> Curve:
    """A line of slope 1 just below all others."""
    x = np.unique(np.concatenate([curve.x for curve in drawn]))[[0, -1]]
    height = 0.5 * min(float((curve.low / curve.x).min()) for curve in drawn)
    return Curve(GUIDE, x, height * x, height * x, height * x, seeds=1)
