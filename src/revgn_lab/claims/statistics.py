"""The statistics that claims are decided by: each takes the metrics of runs and returns one number with its interval.

All have the same first arguments: the metrics of one data set and setting (of all settings where `pooled`), with
columns setting, optimizer and seed; the label of the optimizer that the claim is about; and the labels of those it is
compared with. Optimizers are compared seed by seed: runs of one seed start from the same weights and see the same rows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from revgn_lab.claims.evidence import Evidence, of_mean, of_ratio, of_spreads
from revgn_lab.claims.per_run import (
    arrival,
    by_run,
    final_cka,
    final_loss,
    kernel_movement,
    last,
    late_decrease_of,
    losses_by_seed,
    median_change,
    pairs,
    shared_seeds,
    values,
)
from revgn_lab.claims.trajectories import gaps, order

_Function = TypeVar("_Function", bound=Callable[..., Evidence])
_NOTHING = Evidence(math.nan, math.nan, math.nan, 0)


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


STATISTICS: dict[str, Statistic] = {}
"""By the names of their functions."""


def _statistic(says: str, unit: str = "", *, pooled: bool = False) -> Callable[[_Function], _Function]:
    """Enter a function into the table, with what `Statistic` says of it."""

    def entered(function: _Function) -> _Function:
        STATISTICS[function.__name__] = Statistic(function, says, unit, pooled)
        return function

    return entered


@_statistic(
    "{by} after which the soonest of the others is down to {fraction:g} of the first training loss, over its own",
    "times",
)
def speedup(runs: pd.DataFrame, optimizer: str, against: Sequence[str], *, fraction: float, by: str) -> Evidence:
    """How many times sooner the training loss is down to a fraction of its start than with the soonest of the others.

    Whoever never gets there takes forever: that is a ratio of 0 for the optimizer's own failure. Where all the others
    fail, the ratio is the length of the shortest of their runs over the optimizer's time, a lower bound. Where nobody
    gets there nothing is known.

    Args (beside those of the module):
        fraction: of the loss of the first step.
        by: step or seconds.
    """
    arrivals = by_run(runs, lambda run: arrival(run, fraction, by))
    lengths = by_run(runs, lambda run: float(run[by].max()))
    ratios, bounds = list[float](), 0
    for seed in shared_seeds(arrivals, optimizer, against):
        ours = arrivals[optimizer, seed]
        others = [(arrivals[name, seed], lengths[name, seed]) for name in against if (name, seed) in arrivals]
        soonest = min(theirs for theirs, _ in others)
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


@_statistic("standard deviation of the training loss over seeds, over the smallest of the others'", "times")
def spread_ratio(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """Standard deviation of the training loss over seeds, over the smallest of the others'.

    The square root of the variance averaged over all steps: half the width of the band around the curve.
    """
    curves = {name: losses_by_seed(runs, name) for name in (optimizer, *against)}
    evidence = [of_spreads(curves[optimizer], curves[name]) for name in against if not curves[name].empty]
    known = [each for each in evidence if not math.isnan(each.value)]
    return max(known, key=lambda each: each.value, default=next(iter(evidence), _NOTHING))


@_statistic("fall of the training loss in the second half of training", "%")
def late_decrease(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """By how many percent the training loss falls in the second half of training.

    Between the mean over the fifth of all epochs before half-time and that over the last fifth; of five epochs or more.
    """
    return of_mean(values(runs, optimizer, late_decrease_of))


@_statistic("final {column}, over the lowest of the others'", "times")
def loss_ratio(runs: pd.DataFrame, optimizer: str, against: Sequence[str], *, column: str) -> Evidence:
    """The final loss, over the lowest of the others'. A run without a finite loss in the end has an infinite one.

    Args (beside those of the module):
        column: loss, of which the mean over the last epoch is taken, or test_loss.
    """
    finals = by_run(runs, lambda run: final_loss(run, column))
    diverged = sum(math.isinf(loss) for (name, _), loss in finals.items() if name == optimizer)
    note = f"diverged with {diverged} of the seeds" if diverged else ""
    return of_ratio([ours / min(theirs) for ours, theirs in pairs(finals, optimizer, against)], note)


@_statistic("median fall of the loss on the rows of a step, beyond that of the strongest of the others", "points")
def stronger_change(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """How many percentage points further a step takes the loss down on its own rows than the strongest of the others.

    Of each run the median over its steps of 100 (after - before) / before.
    """
    changes = by_run(runs, median_change)
    return of_mean([min(theirs) - ours for ours, theirs in pairs(changes, optimizer, against)])


@_statistic("final test accuracy of the best of the others, less its own", "points")
def accuracy_gap(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """How many percentage points of test accuracy the best of the others is ahead in the end."""
    finals = by_run(runs, lambda run: last(run, "test_accuracy"))
    return of_mean([max(theirs) - ours for ours, theirs in pairs(finals, optimizer, against)])


@_statistic("spread of the others' final test accuracies, less the distance from its own to the best of them", "points")
def spread_beyond_gap(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """By how many points the others' test accuracies lie further apart than its own lies from the best of them.

    Of the seeds for which two of the others are known, or more.
    """
    finals = by_run(runs, lambda run: last(run, "test_accuracy"))
    beyond = [
        max(theirs) - min(theirs) - abs(ours - max(theirs)) if len(theirs) > 1 else math.nan
        for ours, theirs in pairs(finals, optimizer, against)
    ]
    return of_mean(beyond, "fewer than two to tell apart" if beyond and all(map(math.isnan, beyond)) else "")


@_statistic('final test accuracy with "{setting}", less that with "{beyond}"', "points", pooled=True)
def setting_gain(runs: pd.DataFrame, optimizer: str, against: Sequence[str], *, setting: str, beyond: str) -> Evidence:
    """How many percentage points of test accuracy more the optimizer ends with in one setting than in another.

    Args (beside those of the module):
        setting: the one.
        beyond: the other.
    """
    ours, theirs = (
        by_run(runs.loc[runs["setting"] == name], lambda run: last(run, "test_accuracy")) for name in (setting, beyond)
    )
    return of_mean([ours[run] - theirs[run] for run in ours if run[0] == optimizer and run in theirs])


@_statistic("similarity of the last tangent kernel to the first")
def kernel_similarity(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """Similarity of the final tangent kernel to the first one, 1 if it has not changed."""
    return of_mean(values(runs, optimizer, lambda run: last(run, "ntk_similarity")))


@_statistic("change of the tangent kernel, over the least of the others'", "times")
def kernel_change_ratio(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """How far the tangent kernel has moved, 1 - similarity to the start, over the least of the others'."""
    return _movement_ratio(by_run(runs, kernel_movement), optimizer, against)


@_statistic("lowest CKA of a block with itself before training")
def lowest_cka(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """CKA of the block whose final output is least like what it was before training."""
    return of_mean(values(runs, optimizer, final_cka))


@_statistic("change of representations, 1 - the lowest CKA, over the least of the others'", "times")
def cka_change_ratio(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """How far the representations have moved, 1 - the lowest CKA with their start, over the least of the others'."""
    return _movement_ratio(by_run(runs, lambda run: max(1 - final_cka(run), 0.0)), optimizer, against)


@_statistic("exponent of the learning rate in the gap between the loss curves", pooled=True)
def gap_order(runs: pd.DataFrame, optimizer: str, against: Sequence[str]) -> Evidence:
    """Exponent p of gap ~ lr^p, the gap being the largest distance to the loss curve of another right inverse."""
    tables = [gaps(runs, optimizer, name) for name in against]
    return of_mean([order(runs_of_seed) for table in tables for _, runs_of_seed in table.groupby("seed")])


def _movement_ratio(moved: Mapping[tuple[str, int], float], optimizer: str, against: Sequence[str]) -> Evidence:
    """Of each seed the optimizer's movement over the least of the others'; not known where that is zero."""
    found = [(ours, min(theirs)) for ours, theirs in pairs(moved, optimizer, against)]
    return of_ratio([ours / least if least > 0 else math.nan for ours, least in found])
