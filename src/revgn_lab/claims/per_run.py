"""Numbers of single runs, and runs of the same seed side by side."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from revgn_lab.claims.epochs import by_epoch

PerRun = Callable[[pd.DataFrame], float]


def by_run(runs: pd.DataFrame, number: PerRun) -> dict[tuple[str, int], float]:
    """A number of each run, by optimizer and seed."""
    grouped = runs.groupby(["optimizer", "seed"], sort=False)
    return {(str(run["optimizer"].iloc[0]), int(run["seed"].iloc[0])): number(run) for _, run in grouped}


def values(runs: pd.DataFrame, optimizer: str, number: PerRun) -> list[float]:
    """A number of each run of one optimizer."""
    return list(by_run(runs.loc[runs["optimizer"] == optimizer], number).values())


def shared_seeds(numbers: Mapping[tuple[str, int], float], optimizer: str, against: Sequence[str]) -> list[int]:
    """The seeds of this optimizer's runs for which there is a run of another to compare with."""
    return [seed for name, seed in numbers if name == optimizer and any((other, seed) in numbers for other in against)]


def pairs(
    numbers: Mapping[tuple[str, int], float], optimizer: str, against: Sequence[str]
) -> list[tuple[float, list[float]]]:
    """For each shared seed the number of the optimizer, and those of the others that are known."""
    found: list[tuple[float, list[float]]] = []
    for seed in shared_seeds(numbers, optimizer, against):
        others = [numbers[name, seed] for name in against if (name, seed) in numbers]
        found.append((numbers[optimizer, seed], [other for other in others if not math.isnan(other)] or [math.nan]))
    return found


def arrival(run: pd.DataFrame, fraction: float, by: str) -> float:
    """Step or second at which the run's epochs first have a mean loss of at most `fraction` of the first one."""
    steps = run.loc[run["loss"].notna()]
    if steps.empty:
        return math.inf
    epochs = by_epoch(steps, "loss")
    there = epochs.loc[epochs["value"] <= fraction * float(steps["loss"].iloc[0])]
    return float(there[by].iloc[0]) if len(there) else math.inf


def losses_by_seed(runs: pd.DataFrame, optimizer: str) -> pd.DataFrame:
    """(epochs, seeds) of one optimizer, the epochs that all seeds have."""
    epochs = by_epoch(runs.loc[runs["optimizer"] == optimizer], "loss")
    return epochs.pivot_table(index="epoch", columns="seed", values="value").dropna()


def late_decrease_of(run: pd.DataFrame) -> float:
    """Fall of the loss in percent, from the fifth of all epochs before half-time to the last fifth."""
    losses = by_epoch(run, "loss")["value"].to_numpy()
    fifth, half = len(losses) // 5, len(losses) // 2
    if fifth == 0:
        return math.nan
    return 100 * (1 - float(losses[-fifth:].mean() / losses[half - fifth : half].mean()))


def final_loss(run: pd.DataFrame, column: str) -> float:
    """The loss in the end, of "loss" the mean over the last epoch; infinite of a run that has diverged."""
    if diverged(run):
        return math.inf
    known = by_epoch(run, column, "mean" if column == "loss" else "last") if column in run else run.iloc[:0]
    return float(known["value"].iloc[-1]) if len(known) else math.nan


def median_change(run: pd.DataFrame) -> float:
    """Median over the steps of the change of the loss on a step's own rows, in percent."""
    if "loss_after" not in run:
        return math.nan
    change = 100 * (run["loss_after"] - run["loss"]) / run["loss"].where(run["loss"] > 0)
    return float(np.nanmedian(change)) if change.notna().any() else math.nan


def kernel_movement(run: pd.DataFrame) -> float:
    """1 - similarity of the last tangent kernel to the first, not below 0; NaN where it is not known."""
    return max(1 - last(run, "ntk_similarity"), 0.0)  # in this order: max keeps a NaN that comes first


def final_cka(run: pd.DataFrame) -> float:
    """CKA with its start of the block or layer that has moved most; NaN where none is known."""
    known = [last(run, str(name)) for name in run if str(name).startswith("cka_")]
    return min((cka for cka in known if not math.isnan(cka)), default=math.nan)


def last(run: pd.DataFrame, column: str) -> float:
    """The last value; a run that has diverged has none."""
    known = run[column].dropna().tolist() if column in run and not diverged(run) else []
    return float(known[-1]) if known else math.nan


def diverged(run: pd.DataFrame) -> bool:
    """Whether the last step has no finite loss."""
    return not math.isfinite(run["loss"].iloc[-1])
