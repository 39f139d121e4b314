"""What a figure shows of many runs: one line per optimizer, with the spread over seeds."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SMALLEST = 1e-16
"""Where curves on logarithmic axes end: what is smaller, an exact 0 among it, is drawn here."""

Reduction = Literal["mean", "median", "max", "last"]
Axis = Literal["step", "epoch", "seconds"]


@dataclass(frozen=True, eq=False)
class Curve:
    """The runs of one optimizer that differ in their seeds alone.

    Attributes:
        optimizer: its name.
        x: (k,) steps, epochs or seconds.
        mean: (k,) over the seeds; the geometric mean where the axis is logarithmic.
        low: (k,) the smallest of the seeds.
        high: (k,) the largest.
        seeds: how many there are.
    """

    optimizer: str
    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    seeds: int


def by_epoch(frame: pd.DataFrame, column: str, reduction: Reduction = "mean") -> pd.DataFrame:
    """One row per run and epoch: `column` reduced over the epoch's steps, at its last step, epoch and second.

    In full-batch runs, where an epoch is a step, this is the column itself; in mini-batch runs it takes out the
    difference between one mini-batch and the next. Steps without a finite value take no part; "last" is the last that
    has one.

    Args:
        frame: metrics, one row per step, with columns setting, optimizer and seed.
        column: which of them.
        reduction: over the steps of an epoch.

    Returns:
        Columns setting, optimizer, seed, epoch, step, seconds and value, for the epochs with a value.
    """
    finite = frame.assign(value=frame[column].astype(float).where(np.isfinite(frame[column].astype(float))))
    epochs = finite.groupby(["setting", "optimizer", "seed", "epoch"], sort=False, as_index=False)
    reduced = epochs.agg(step=("step", "last"), seconds=("seconds", "last"), value=("value", reduction))
    return reduced.dropna(subset="value")


def curves(
    frame: pd.DataFrame, column: str, *, axis: Axis = "step", reduction: Reduction = "mean", log: bool = False
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
    """
    table = by_epoch(frame, column, reduction)
    return [_curve(str(name), runs, axis, log=log) for name, runs in table.groupby("optimizer", sort=False)]


def _curve(name: str, runs: pd.DataFrame, axis: Axis, *, log: bool) -> Curve:
    values = runs.pivot_table(index="step", columns="seed", values="value")
    at = values.index if axis == "step" else runs.groupby("step")[axis].mean()
    known = np.asarray(values, dtype=np.float64)  # (k, seeds), NaN where a run has no value
    known = np.maximum(known, SMALLEST) if log else known
    mean = np.exp(np.nanmean(np.log(known), axis=1)) if log else np.nanmean(known, axis=1)
    return Curve(
        optimizer=name,
        x=np.asarray(at, dtype=np.float64),
        mean=mean,
        low=np.nanmin(known, axis=1),
        high=np.nanmax(known, axis=1),
        seeds=known.shape[1],
    )
