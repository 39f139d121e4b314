"""The numbers that decide claims, each with an interval over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
"""Of all intervals."""


@dataclass(frozen=True)
class Evidence:
    """A number, and how well the seeds know it.

    Attributes:
        value: the estimate; NaN where nothing was measured.
        low, high: ends of its interval; NaN with fewer than two seeds, infinite where it has no end.
        seeds: how many the number was made of.
        note: what a reader must know to understand it, such as that a target was never reached.
    """

    value: float
    low: float
    high: float
    seeds: int
    note: str = ""


def of_mean(values: Sequence[float], note: str = "") -> Evidence:
    """The mean of one value per seed, with Student's interval. Seeds without a finite value do not count."""
    known = np.asarray([value for value in values if math.isfinite(value)])
    if len(known) == 0:
        return Evidence(math.nan, math.nan, math.nan, 0, note)
    mean = float(known.mean())
    if len(known) == 1:
        return Evidence(mean, math.nan, math.nan, 1, note)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1)) * float(known.std(ddof=1)) / math.sqrt(len(known))
    return Evidence(mean, mean - reach, mean + reach, len(known), note)


def of_ratio(ratios: Sequence[float], note: str = "", *, lower_bounds: bool = False) -> Evidence:
    """The geometric mean of one ratio per seed, with Student's interval for the logarithm.

    Ratios of 0 and infinity, as of runs that never reach a target, have no logarithm: where there is one among them
    the interval reaches from the smallest to the largest ratio, and the estimate is their median.

    Args:
        ratios: one for each seed; NaN where it is not known.
        note: see `Evidence`.
        lower_bounds: the true ratios may be larger, so that the interval has no upper end.
    """
    known = np.asarray([ratio for ratio in ratios if not math.isnan(ratio)])
    if ((known <= 0) | np.isinf(known)).any():
        low, high = (float(known.min()), float(known.max())) if len(known) > 1 else (math.nan, math.nan)
        found = Evidence(float(np.median(known)), low, high, len(known), note)
    else:
        logs = of_mean(np.log(known).tolist(), note)
        found = Evidence(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.seeds, note)
    return replace(found, high=math.inf) if lower_bounds and found.seeds > 1 else found


def of_spreads(ours: pd.DataFrame, theirs: pd.DataFrame) -> Evidence:
    """The ratio of two standard deviations over seeds, with the interval of Fisher's F.

    Variances are averaged over the rows first, say the steps of a curve; as the same seeds make all of them, they count
    as one.

    Args:
        ours: (rows, seeds).
        theirs: (rows, seeds); the columns need not be the same seeds.
    """
    seeds = min(ours.shape[1], theirs.shape[1])
    if seeds < 2:
        return Evidence(math.nan, math.nan, math.nan, seeds)
    variances = [float(np.nanmean(table.var(axis=1, ddof=1))) for table in (ours, theirs)]
    if not variances[1] > 0 or not math.isfinite(variances[0]):
        return Evidence(math.nan, math.nan, math.nan, seeds, "the spread to compare with is zero or not finite")
    ratio = math.sqrt(variances[0] / variances[1])
    reach = math.sqrt(float(stats.f.ppf((1 + CONFIDENCE) / 2, ours.shape[1] - 1, theirs.shape[1] - 1)))
    back = math.sqrt(float(stats.f.ppf((1 + CONFIDENCE) / 2, theirs.shape[1] - 1, ours.shape[1] - 1)))
    return Evidence(ratio, ratio / reach, ratio * back, seeds)
