"""The final numbers of a set of runs, for each run and as a table over seeds."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

TARGET_LOSS = 1e-2
"""Training loss whose first passing is counted in steps and in seconds."""

NOTHING = "\N{EN DASH}"
"""What stands for a missing value."""
_RUN = ["setting", "optimizer", "seed"]
_ON_TEST_ROWS = ("test_loss", "test_accuracy", "test_r2")


def recorded(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column as numbers; NaN throughout where these runs did not record it."""
    return frame[column].astype(float) if column in frame else pd.Series(np.nan, index=frame.index)


def summarize(frame: pd.DataFrame) -> pd.DataFrame:
    """The final numbers of each run, one row per run.

    Args:
        frame: metrics, one row per step, with columns setting, optimizer and seed.

    Returns:
        Columns setting, optimizer, seed; steps; seconds; loss (the mean over the last epoch, each before its step; NaN
        where it is not finite); test_loss, test_accuracy (in percent) and test_r2 (the last ones; NaN if the loss is,
        as then they are from before the end); target_steps and target_seconds (at the end of the first epoch whose loss
        is at most `TARGET_LOSS`; NaN if none is); loss_change (median over all steps, in percent); defect (the worst);
        exact (percent of the steps).
    """
    return pd.DataFrame([_summary(run) for _, run in frame.groupby(_RUN, sort=False)])


def _summary(run: pd.DataFrame) -> dict[str, Any]:
    """The numbers of one run."""
    epochs = run.groupby("epoch").agg(loss=("loss", "mean"), step=("step", "last"), seconds=("seconds", "last"))
    reached = epochs[epochs["loss"] <= TARGET_LOSS]
    loss = _last(epochs["loss"])
    ended = math.isfinite(loss)
    return {
        **run[_RUN].iloc[0].to_dict(),
        "steps": _last(run["step"]),
        "seconds": _last(run["seconds"]),
        "loss": loss if ended else math.nan,
        **{name: _last(recorded(run, name).dropna()) if ended else math.nan for name in _ON_TEST_ROWS},
        "target_steps": float(reached["step"].min()),
        "target_seconds": float(reached["seconds"].min()),
        "loss_change": float((100 * (recorded(run, "loss_after") - run["loss"]) / run["loss"]).median()),
        "defect": float(recorded(run, "defect").max()),
        "exact": 100 * float(recorded(run, "exact").mean()),
    }


def _last(values: pd.Series) -> float:
    """The last value, NaN where there is none."""
    return float(values.to_numpy()[-1]) if len(values) else math.nan


def geometric_mean(values: pd.Series) -> float:
    """Exp of the mean logarithm, over the values above 0; 0 if none is."""
    positive = values[values > 0]
    return float(np.exp(np.log(positive).mean())) if len(positive) else 0.0


def final_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The table of final numbers as text: the mean over seeds, with the smallest and the largest where they differ.

    Numbers that no run has are left out.
    """
    settings = summarize(frame).groupby("setting", sort=False)
    table = pd.DataFrame(
        [_numbers(runs) for _, panel in settings for _, runs in panel.groupby("optimizer", sort=False)]
    )
    return table.loc[:, (table != NOTHING).any()]


def _numbers(runs: pd.DataFrame) -> dict[str, Any]:
    """A row of the table."""
    return {
        **runs[["setting", "optimizer"]].iloc[0].to_dict(),
        "training loss": _range(runs["loss"], ".1e", geometric_mean),
        "test loss": _range(runs["test_loss"], ".1e", geometric_mean),
        "test accuracy (%)": _range(runs["test_accuracy"], ".1f"),
        "test R2": _range(runs["test_r2"], ".3f"),
        "steps": _range(runs["steps"], ",.0f"),
        "seconds": _range(runs["seconds"], ".1f"),
        f"steps to loss {TARGET_LOSS:g}": _range(runs["target_steps"], ",.0f", missing="never"),
        f"seconds to loss {TARGET_LOSS:g}": _range(runs["target_seconds"], ".2f", missing="never"),
        "median loss change (%)": _range(runs["loss_change"], "+.1f"),
        "worst defect": _range(runs["defect"], ".1e", pd.Series.max),
        "exact steps (%)": _range(runs["exact"], ".3g"),
    }


def _range(
    values: pd.Series,
    form: str,
    middle: Callable[[pd.Series], float] = pd.Series.mean,
    *,
    missing: str = "without a finite loss",
) -> str:
    known = values.dropna()
    if known.empty:
        return NOTHING
    low, mean, high = (format(value, form) for value in (known.min(), middle(known), known.max()))
    others = f", {len(values) - len(known)} {missing}" if len(known) < len(values) else ""
    return mean + others if low == high else f"{mean} ({low} to {high}{others})"
