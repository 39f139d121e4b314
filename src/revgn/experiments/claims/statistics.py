"""The statistics that claims are decided by: each takes the metrics of runs and returns one number with its interval.

All have the same first arguments: the metrics of one data set and setting (of all settings where `pooled`), with
columns setting, optimizer and seed; the label of the optimizer that the claim is about; and the labels of those it is
compared with. Optimizers are compared seed by seed: runs of one seed start from the same weights and see the same rows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from revgn.experiments.claims.evidence import Evidence, of_mean, of_ratio, of_spreads
from revgn.experiments.claims.trajectories import gaps, order
from revgn.experiments.epochs import by_epoch

PerRun = Callable[[pd.DataFrame], float]


def speedup(runs: pd.DataFrame, optimizer: str, against: Sequence[str], *, fraction: float, by: str) -> Evidence:
    """How many times sooner the training loss is down to a fraction of its start than with the soonest of the others.

    Whoever never gets there takes forever: that is a ratio of 0 for the optimizer's own failure. Where all the others
    fail, the ratio is the length of the shortest of their runs over the optimizer's time, a lower bound. Where nobody
    gets there nothing is known.

    Args:
        runs: see the module.
        optimizer: see the module.
        against: see the module.
        fraction: of the loss of the first step.
        by: step or seconds.
    """
    arrivals = _by_run(runs, lambda run: _arrival(run, fraction, by))
    lengths = _by_run(runs, lambda run: float(run[by].max()))
    ratios, bounds = list[float](), 0
    for seed in _shared_seeds(arrivals, optimizer, against):
        ours = arrivals[optimizer, seed]
        others = [(arrivals[name, seed], lengths[name, seed]) for name in against if (name, seed) in arrivals]
        soonest = min(arrival for arrival, _ in others)
        if math.isinf(soonest) and math.isfinite(ours):
            bounds += 1
            soonest = min(length for _, length in others)
        ratios.append(math.nan if math.isinf(soonest) else soonest / ours)
    never = sum(map(math.isnan, ratios))
    notes = {
        f"no optimizer got there with {never} of the seeds": never,
        f"a lower bound for {bounds} of the seeds": bounds,
    }
    return of_ratio(ratios, "; ".join(note for note, count in notes.items() if count), lower_bounds=bounds > 0)


def spread_ratio(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """Standard deviation of the training loss over seeds, over the smallest of the others'.

    The square root of the variance averaged over all steps: half the width of the band around the curve.
    """
    curves = {name: _losses_by_seed(runs, name) for name in (optimizer, *against)}
    evidence = [of_spreads(curves[optimizer], curves[name]) for name in against if not curves[name].empty]
    known = [each for each in evidence if not math.isnan(each.value)]
    return max(known, key=lambda each: each.value, default=next(iter(evidence), _NOTHING))


def late_decrease(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """By how many percent the training loss falls in the second half of training.

    Between the mean over the fifth of all epochs before half-time and that over the last fifth; of five epochs or more.
    """
    return of_mean(list(_values(runs, optimizer, _late_decrease)))


def loss_ratio(runs: pd.DataFrame, optimizer: str, against: Sequence[str], *, column: str) -> Evidence:
    """The final loss, over the lowest of the others'. A run without a finite loss in the end has an infinite one.

    Args:
        runs: see the module.
        optimizer: see the module.
        against: see the module.
        column: loss, of which the mean over the last epoch is taken, or test_loss.
    """
    finals = _by_run(runs, lambda run: _final_loss(run, column))
    diverged = sum(math.isinf(loss) for (name, _), loss in finals.items() if name == optimizer)
    note = f"diverged with {diverged} of the seeds" if diverged else ""
    return of_ratio([ours / min(theirs) for ours, theirs in _pairs(finals, optimizer, against)], note)


def stronger_change(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """How many percentage points further a step takes the loss down on its own rows than the strongest of the others.

    Of each run the median over its steps of 100 (after - before) / before.
    """
    changes = _by_run(runs, _median_change)
    return of_mean([min(theirs) - ours for ours, theirs in _pairs(changes, optimizer, against)])


def accuracy_gap(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """How many percentage points of test accuracy the best of the others is ahead in the end."""
    finals = _by_run(runs, lambda run: _last(run, "test_accuracy"))
    return of_mean([max(theirs) - ours for ours, theirs in _pairs(finals, optimizer, against)])


def kernel_similarity(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """Similarity of the final tangent kernel to the first one, 1 if it has not changed."""
    return of_mean(list(_values(runs, optimizer, lambda run: _last(run, "ntk_similarity"))))


def kernel_change_ratio(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """How far the tangent kernel has moved, 1 - similarity to the start, over the least of the others'."""
    moved = _by_run(runs, lambda run: max(0.0, 1 - _last(run, "ntk_similarity")))
    pairs = [(ours, min(theirs)) for ours, theirs in _pairs(moved, optimizer, against)]
    return of_ratio([ours / least if least > 0 else math.nan for ours, least in pairs])


def lowest_cka(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """CKA of the block whose final output is least like what it was before training."""
    blocks = [name for name in runs if str(name).startswith("cka_")]
    return of_mean(
        list(_values(runs, optimizer, lambda run: min((_last(run, name) for name in blocks), default=math.nan)))
    )


def gap_order(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """Exponent p of gap ~ lr^p, the gap being the largest distance to the loss curve of another right inverse."""
    tables = [gaps(runs, optimizer, name) for name in against]
    return of_mean([order(runs_of_seed) for table in tables for _, runs_of_seed in table.groupby("seed")])


@dataclass(frozen=True)
class Statistic:
    """A statistic as a claim can name it.

    Attributes:
        function: see the module.
        says: what it is, for a table; its arguments may stand in it.
        unit: of the number.
        pooled: whether it takes all settings of a study together.
    """

    function: Callable[..., Evidence]
    says: str
    unit: str = ""
    pooled: bool = False


STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {
        "speedup": Statistic(
            speedup,
            "{by} after which the soonest of the others is down to {fraction:g} of the first training loss, over its "
            "own",
            "times",
        ),
        "spread_ratio": Statistic(
            spread_ratio,
            "standard deviation of the training loss over seeds, over the smallest of the others'",
            "times",
        ),
        "late_decrease": Statistic(late_decrease, "fall of the training loss in the second half of training", "%"),
        "loss_ratio": Statistic(loss_ratio, "final {column}, over the lowest of the others'", "times"),
        "stronger_change": Statistic(
            stronger_change,
            "median fall of the loss on the rows of a step, beyond that of the strongest of the others",
            "points",
        ),
        "accuracy_gap": Statistic(
            accuracy_gap, "final test accuracy of the best of the others, less its own", "points"
        ),
        "kernel_similarity": Statistic(kernel_similarity, "similarity of the last tangent kernel to the first"),
        "kernel_change_ratio": Statistic(
            kernel_change_ratio, "change of the tangent kernel, over the least of the others'", "times"
        ),
        "lowest_cka": Statistic(lowest_cka, "lowest CKA of a block with itself before training"),
        "gap_order": Statistic(
            gap_order, "exponent of the learning rate in the gap between the loss curves", pooled=True
        ),
    }
)

_NOTHING = Evidence(math.nan, math.nan, math.nan, 0)


def _by_run(runs: pd.DataFrame, number: PerRun) -> dict[tuple[str, int], float]:
    """A number of each run, by optimizer and seed."""
    grouped = runs.groupby(["optimizer", "seed"], sort=False)
    return {(str(run["optimizer"].iloc[0]), int(run["seed"].iloc[0])): number(run) for _, run in grouped}


def _values(runs: pd.DataFrame, optimizer: str, number: PerRun) -> list[float]:
    """A number of each run of one optimizer."""
    return list(_by_run(runs.loc[runs["optimizer"] == optimizer], number).values())


def _shared_seeds(numbers: Mapping[tuple[str, int], float], optimizer: str, against: Sequence[str]) -> list[int]:
    """The seeds of this optimizer's runs for which there is a run of another to compare with."""
    return [seed for name, seed in numbers if name == optimizer and any((other, seed) in numbers for other in against)]


def _pairs(
    numbers: Mapping[tuple[str, int], float], optimizer: str, against: Sequence[str]
) -> list[tuple[float, list[float]]]:
    """For each shared seed the number of the optimizer, and those of the others that are known."""
    pairs: list[tuple[float, list[float]]] = []
    for seed in _shared_seeds(numbers, optimizer, against):
        others = [numbers[name, seed] for name in against if (name, seed) in numbers]
        pairs.append((numbers[optimizer, seed], [other for other in others if not math.isnan(other)] or [math.nan]))
    return pairs


def _arrival(run: pd.DataFrame, fraction: float, by: str) -> float:
    """Step or second at which the run's epochs first have a mean loss of at most `fraction` of the first one."""
    steps = run.loc[run["loss"].notna()]
    if steps.empty:
        return math.inf
    epochs = by_epoch(steps, "loss")
    there = epochs.loc[epochs["value"] <= fraction * float(steps["loss"].iloc[0])]
    return float(there[by].iloc[0]) if len(there) else math.inf


def _losses_by_seed(runs: pd.DataFrame, optimizer: str) -> pd.DataFrame:
    """(epochs, seeds) of one optimizer, the epochs that all seeds have."""
    epochs = by_epoch(runs.loc[runs["optimizer"] == optimizer], "loss")
    return epochs.pivot_table(index="epoch", columns="seed", values="value").dropna()


def _late_decrease(run: pd.DataFrame) -> float:
    losses = by_epoch(run, "loss")["value"].to_numpy()
    fifth, half = len(losses) // 5, len(losses) // 2
    if fifth == 0:
        return math.nan
    return 100 * (1 - float(losses[-fifth:].mean() / losses[half - fifth : half].mean()))


def _final_loss(run: pd.DataFrame, column: str) -> float:
    if _diverged(run):
        return math.inf
    known = by_epoch(run, column, "mean" if column == "loss" else "last") if column in run else run.iloc[:0]
    return float(known["value"].iloc[-1]) if len(known) else math.nan


def _median_change(run: pd.DataFrame) -> float:
    if "loss_after" not in run:
        return math.nan
    change = 100 * (run["loss_after"] - run["loss"]) / run["loss"].where(run["loss"] > 0)
    return float(np.nanmedian(change)) if change.notna().any() else math.nan


def _last(run: pd.DataFrame, column: str) -> float:
    """The last value; a run that has diverged has none."""
    known = run[column].dropna().tolist() if column in run and not _diverged(run) else []
    return float(known[-1]) if known else math.nan


def _diverged(run: pd.DataFrame) -> bool:
    """Whether the last step has no finite loss."""
    return not math.isfinite(run["loss"].iloc[-1])
