"""What a figure is made of: panels of curves or of a heat map, ready to be drawn by plotly or by matplotlib."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from revgn_lab.claims.epochs import Reduction, finite
from revgn_lab.report.curves import Axis, Curve, curves

LARGEST_RISE = 100.0
"""Losses are drawn up to so many times those at the start, lest a diverging run flatten all the others."""


@dataclass(frozen=True)
class Line:
    """A horizontal line at `height`, and what it means."""

    height: float
    label: str


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes.

    Attributes:
        title: the setting.
        x_label: with its unit.
        y_label: with its unit.
        log: whether the y axis is logarithmic.
        curves: one per optimizer.
        line: a mark to compare with, or None.
        log_x: whether the x axis is logarithmic.
        ticks: positions on the x axis with what stands there, for values that are not numbers.
    """

    title: str
    x_label: str
    y_label: str
    log: bool
    curves: tuple[Curve, ...]
    line: Line | None = None
    log_x: bool = False
    ticks: tuple[tuple[float, str], ...] = ()

    @property
    def names(self) -> list[str]:
        """Of its curves, in their order."""
        return [curve.name for curve in self.curves]


@dataclass(frozen=True, eq=False)
class Heatmap:
    """A symmetric comparison of each of k things with each other, as k x k numbers from 0 to 1.

    Attributes:
        title: the setting.
        names: of the things compared, in their order.
        values: (k, k).
        label: what the numbers are.
    """

    title: str
    names: list[str]
    values: NDArray[np.float64]
    label: str


@dataclass(frozen=True, eq=False)
class Figure:
    """Panels with one message.

    Attributes:
        name: of its files and anchors, in lower case.
        title: what is shown.
        caption: how to read it, and how the numbers were made.
        panels: one per setting.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel | Heatmap, ...]


def recorded(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column as numbers; NaN throughout where these runs did not record it."""
    return frame[column].astype(float) if column in frame else pd.Series(np.nan, index=frame.index)


def panels(
    frame: pd.DataFrame,
    column: str,
    x_label: str,
    y_label: str,
    *,
    axis: Axis = "step",
    reduction: Reduction = "mean",
    log: bool = False,
    line: Line | None = None,
    error: str | None = None,
) -> tuple[Panel, ...]:
    """A panel for each setting in which `column` has values; none where nothing of that name was recorded."""
    if column not in frame:
        return ()
    drawn = {
        str(setting): curves(runs, column, axis=axis, reduction=reduction, log=log, error=error)
        for setting, runs in frame.groupby("setting", sort=False)
    }
    return tuple(Panel(setting, x_label, y_label, log, tuple(found), line) for setting, found in drawn.items() if found)


def loss_panels(
    frame: pd.DataFrame,
    loss: str,
    x_label: str,
    y_label: str,
    *,
    axis: Axis = "step",
    reduction: Reduction = "mean",
) -> tuple[Panel, ...]:
    """The panels of a loss, logarithmic, and at most `LARGEST_RISE` times the largest first loss of the setting."""
    values = recorded(frame, loss)
    known = finite(values)
    first = known.groupby([frame["setting"], frame["optimizer"], frame["seed"]]).transform("first")
    most = LARGEST_RISE * first.groupby(frame["setting"]).transform("max")
    bounded = frame.assign(**{loss: values.where(~(known > most), most)})
    return panels(bounded, loss, x_label, y_label, axis=axis, reduction=reduction, log=True)
