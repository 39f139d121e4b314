"""Intervals put to scale by what the networks give at rows that they were fitted without."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# The share of the rows that intervals are to cover, and the normal distribution's quantile for it.
COVERED, NORMAL = 0.9, 1.6448536269514722
# Fewer rows than these say nothing of a tenth of them.
FEWEST = 20


def interval_scale(residuals: Array, deviations: Array, weight: Array) -> float:
    """What deviations must be multiplied by so that +-1.645 of them cover nine tenths of the rows.

    The rows' own quantile in place of their mean square: it stays what it is however heavy the tails are.

    Args:
        residuals: of each row by networks that were fitted without it, (n,).
        deviations: the standard deviations that they have by those networks, (n,).
        weight: how often each row counts, (n,).
    """
    known = deviations > 0
    if known.sum() < FEWEST:
        return 1.0
    ratios = np.abs(residuals[known]) / deviations[known]
    order = np.argsort(ratios)
    share = np.cumsum(weight[known][order])
    at = min(int(np.searchsorted(share, COVERED * share[-1])), len(order) - 1)
    return float(ratios[order[at]]) / NORMAL or 1.0
