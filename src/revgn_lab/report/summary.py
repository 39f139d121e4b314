"""The numbers of a set of runs, and what they say in words; every word follows from the data."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from revgn_lab.report.panels import recorded

TARGET_LOSS = 1e-2
"""Training loss whose first passing is counted in steps and in seconds."""

_NONE = "\N{EN DASH}"
_RUN = ["setting", "optimizer", "seed"]
_ON_TEST_ROWS = ("test_loss", "test_accuracy", "test_r2")


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


def findings(frame: pd.DataFrame) -> dict[str, list[str]]:
    """For each setting, a few sentences that say what its runs did."""
    summary = summarize(frame)
    makers: Sequence[Callable[[pd.DataFrame], str]] = (
        _speed,
        _spread,
        _generalisation,
        _changes,
        _exactness,
        _failures,
    )
    return {
        str(setting): [sentence for make in makers if (sentence := make(runs))]
        for setting, runs in summary.groupby("setting", sort=False)
    }


def geometric_mean(values: pd.Series) -> float:
    """Exp of the mean logarithm, over the values above 0; 0 if none is."""
    positive = values[values > 0]
    return float(np.exp(np.log(positive).mean())) if len(positive) else 0.0


def _speed(runs: pd.DataFrame) -> str:
    return f"Training loss {TARGET_LOSS:g}: {_each(runs, _reached)}."


def _reached(runs: pd.DataFrame) -> str:
    there = runs.dropna(subset="target_steps")
    if there.empty:
        return f"did not reach it in {runs['steps'].max():,.0f} steps and ended at {_loss(runs['loss'])}"
    some = "" if len(there) == len(runs) else f" in {len(there)} of {len(runs)} runs"
    return (
        f"reached it{some} after {there['target_steps'].mean():,.0f} steps ({there['target_seconds'].mean():.2g} s) "
        f"and ended at {_loss(runs['loss'])}"
    )


def _spread(runs: pd.DataFrame) -> str:
    if runs["seed"].nunique() < 2:
        return ""
    return f"Largest over smallest final training loss of {runs['seed'].nunique()} seeds: {_each(runs, _ratio)}."


def _ratio(runs: pd.DataFrame) -> str:
    losses = runs["loss"].dropna()
    if losses.empty or losses.min() <= 0:
        return "none (a loss is 0 or not finite)"
    return f"{losses.max() / losses.min():.3g}"


def _generalisation(runs: pd.DataFrame) -> str:
    known = runs.dropna(subset="test_accuracy")
    return "" if known.empty else f"Final test accuracy: {_each(known, _accuracy)}."


def _accuracy(runs: pd.DataFrame) -> str:
    return f"{runs['test_accuracy'].mean():.1f} %"


def _changes(runs: pd.DataFrame) -> str:
    known = runs.dropna(subset="loss_change")
    return "" if known.empty else f"A step changed the loss on its own rows by (median): {_each(known, _change)}."


def _change(runs: pd.DataFrame) -> str:
    return f"{runs['loss_change'].mean():+.1f} %"


def _exactness(runs: pd.DataFrame) -> str:
    known = runs.dropna(subset="exact")
    return "" if known.empty else f"Steps that were exact, and the worst defect: {_each(known, _exact)}."


def _exact(runs: pd.DataFrame) -> str:
    share = float(np.average(runs["exact"], weights=runs["steps"]))
    return f"{share:.3g} % of {runs['steps'].sum():,.0f}, {runs['defect'].max():.1e}"


def _failures(runs: pd.DataFrame) -> str:
    failed = runs[runs["loss"].isna()]
    if failed.empty:
        return ""
    counts = failed.groupby("optimizer", sort=False).size()
    return "Ended without a finite loss: " + ", ".join(f"{n} run(s) of {name}" for name, n in counts.items()) + "."


def _each(runs: pd.DataFrame, say: Callable[[pd.DataFrame], str]) -> str:
    """What there is to say of each optimizer, in one phrase."""
    groups = runs.groupby("optimizer", sort=False)
    return "; ".join(f"{name} {say(group)}" for name, group in groups)


def _loss(losses: pd.Series) -> str:
    return "no finite loss" if losses.isna().all() else f"{geometric_mean(losses):.1e}"


def final_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The table of final numbers as text: the mean over seeds, with the smallest and the largest where they differ.

    Numbers that no run has are left out.
    """
    settings = summarize(frame).groupby("setting", sort=False)
    table = pd.DataFrame(
        [_numbers(runs) for _, panel in settings for _, runs in panel.groupby("optimizer", sort=False)]
    )
    return table.loc[:, (table != _NONE).any()]


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
        return _NONE
    low, mean, high = (format(value, form) for value in (known.min(), middle(known), known.max()))
    others = f", {len(values) - len(known)} {missing}" if len(known) < len(values) else ""
    return mean + others if low == high else f"{mean} ({low} to {high}{others})"
