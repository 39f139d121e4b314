"""What a figure shows of many runs: one line per optimizer, with the spread over seeds."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from revgn_lab.claims.epochs import Reduction, by_epoch

SMALLEST = 1e-16
"""Where curves on logarithmic axes end: what is smaller, an exact 0 among it, is drawn here."""
MOST_POINTS = 400
"""Of a curve; more than a screen can show apart would only make pages large and slow."""

Axis = Literal["step", "epoch", "seconds", "time"]


@dataclass(frozen=True, eq=False)
class Curve:
    """A line with a band: most often the runs of one optimizer that differ in their seeds alone.

    Attributes:
        name: of the optimizer, or of what else the line stands for.
        x: (k,) steps, epochs, seconds, or values of a setting.
        mean: (k,) over the seeds; the geometric mean where the axis is logarithmic.
        low: (k,) the smallest of the seeds.
        high: (k,) the largest.
        seeds: how many there are.
        error: (k,) standard error of the mean, where the values themselves are estimates.
        note: what the legend adds to the name.
    """

    name: str
    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    seeds: int
    error: NDArray[np.float64] | None = None
    note: str = ""


def curves(
    frame: pd.DataFrame,
    column: str,
    *,
    axis: Axis = "step",
    reduction: Reduction = "mean",
    log: bool = False,
    error: str | None = None,
) -> list[Curve]:
    """The curves of `column`, one per optimizer, in the order in which the optimizers come in `frame`.

    Seeds are aligned by step. Their times at the same step differ little and are averaged, so a curve over seconds has
    the values of the curve over steps. A run that diverged takes part as long as its values are finite.

    Args:
        frame: metrics of one setting.
        column: what is drawn.
        axis: over what.
        reduction: over the steps of an epoch, see `by_epoch`.
        log: for a logarithmic axis: geometric means, and values below `SMALLEST` are raised to it.
        error: column with the standard error of `column` in each run, if it is an estimate.
    """
    also = tuple(name for name in (axis if axis == "time" else None, error) if name)
    table = by_epoch(frame, column, reduction, also=also)
    return [
        _curve(str(name), runs, axis, log=log, error=error) for name, runs in table.groupby("optimizer", sort=False)
    ]


def thinned(curve: Curve) -> Curve:
    """The curve at no more than `MOST_POINTS` points, the last of as many stretches, whose extremes the band keeps."""
    if len(curve.x) <= MOST_POINTS:
        return curve
    ends = np.linspace(0, len(curve.x), MOST_POINTS + 1).astype(int)[1:] - 1
    starts = np.concatenate([[0], ends[:-1] + 1])
    return replace(
        curve,
        x=curve.x[ends],
        mean=curve.mean[ends],
        low=np.minimum.reduceat(curve.low, starts),
        high=np.maximum.reduceat(curve.high, starts),
        error=None if curve.error is None else curve.error[ends],
    )


def over_seeds(name: str, values: pd.DataFrame, *, log: bool) -> Curve:
    """The line through the means of the seeds, and the band around it.

    Args:
        name: of the curve.
        values: a row for each x, a column for each seed; NaN where a run has no value.
        log: for a logarithmic axis: geometric means, and values below `SMALLEST` are raised to it.
    """
    known = np.asarray(values, dtype=np.float64)
    known = np.maximum(known, SMALLEST) if log else known
    return Curve(
        name=name,
        x=np.asarray(values.index, dtype=np.float64),
        mean=np.exp(np.nanmean(np.log(known), axis=1)) if log else np.nanmean(known, axis=1),
        low=np.nanmin(known, axis=1),
        high=np.nanmax(known, axis=1),
        seeds=known.shape[1],
    )


def _curve(name: str, runs: pd.DataFrame, axis: Axis, *, log: bool, error: str | None) -> Curve:
    found = over_seeds(name, runs.pivot_table(index="step", columns="seed", values="value"), log=log)
    at = found.x if axis == "step" else np.asarray(runs.groupby("step")[axis].mean(), dtype=np.float64)
    return replace(found, x=at, error=_error_of_mean(runs, error) if error else None)


def _error_of_mean(runs: pd.DataFrame, column: str) -> NDArray[np.float64] | None:
    """sqrt(sum e^2) / seeds at each step; None where all values are exact."""
    steps = runs.assign(square=runs[column].astype(float) ** 2).groupby("step")["square"]
    error = np.sqrt(np.asarray(steps.sum(), dtype=np.float64)) / np.asarray(steps.size())
    return error if error.any() else None
