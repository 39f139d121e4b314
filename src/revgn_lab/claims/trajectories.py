"""How far the losses of two right inverses part, and how that depends on the learning rate (theory.md, Theorem 4.3)."""

import numpy as np
import pandas as pd


def gaps(runs: pd.DataFrame, optimizer: str, against: str) -> pd.DataFrame:
    """The largest distance between the loss curves of two optimizers, relative to the loss that they start from.

    Both are compared step by step, as far as both losses are finite: at equal learning rates, equal steps are equal
    times lr * step.

    Args:
        runs: metrics with columns optimizer, seed, step, lr and loss; a run's learning rate does not change.
        optimizer: one of them.
        against: the other.

    Returns:
        Columns seed, lr and gap, for the seeds and learning rates that both have.
    """
    losses = runs.loc[np.isfinite(runs["loss"].astype(float)), ["optimizer", "seed", "lr", "step", "loss"]]
    ours, theirs = (losses[losses["optimizer"] == name].drop(columns="optimizer") for name in (optimizer, against))
    both = ours.merge(theirs, on=["seed", "lr", "step"], suffixes=("", "_against")).sort_values("step")
    both["distance"] = (both["loss"] - both["loss_against"]).abs()
    pairs = both.groupby(["seed", "lr"], as_index=False).agg(distance=("distance", "max"), start=("loss", "first"))
    return pairs.assign(gap=pairs["distance"] / pairs["start"])[["seed", "lr", "gap"]]


def order(table: pd.DataFrame) -> float:
    """The exponent p of gap ~ lr^p, by least squares in the logarithms; NaN for fewer than three learning rates.

    Args:
        table: columns lr and gap, of one seed or of several.
    """
    usable = table.loc[table["gap"] > 0]
    rates, found = (usable[name].to_numpy(dtype=np.float64) for name in ("lr", "gap"))
    return float(np.polyfit(np.log(rates), np.log(found), 1)[0]) if len(np.unique(rates)) > 2 else np.nan
