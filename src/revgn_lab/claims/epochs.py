"""Metrics by epoch, as they are drawn and judged."""

from typing import Literal

import numpy as np
import pandas as pd

Reduction = Literal["mean", "median", "max", "last"]


def by_epoch(
    frame: pd.DataFrame, column: str, reduction: Reduction = "mean", *, also: tuple[str, ...] = ()
) -> pd.DataFrame:
    """One row per run and epoch: `column` reduced over the epoch's steps, at its last step, epoch and second.

    In full-batch runs, where an epoch is a step, this is the column itself; in mini-batch runs it takes out the
    difference between one mini-batch and the next. Steps without a finite value take no part; "last" is the last that
    has one.

    Args:
        frame: metrics, one row per step, with columns setting, optimizer and seed.
        column: which of them.
        reduction: over the steps of an epoch.
        also: other columns, of which the last value in the epoch is kept.

    Returns:
        Columns setting, optimizer, seed, epoch, step, seconds, value and those of `also`, for the epochs with a value.
    """
    known = frame.assign(value=finite(frame[column]))
    epochs = known.groupby(["setting", "optimizer", "seed", "epoch"], sort=False, as_index=False)
    kept = {name: (name, "last") for name in ("step", "seconds", *also)}
    reduced = epochs.agg(**kept, value=("value", reduction))
    return reduced.dropna(subset="value")


def finite(values: pd.Series) -> pd.Series:
    """The values as numbers, NaN where they are not finite."""
    numbers = values.astype(float)
    return numbers.where(np.isfinite(numbers))
