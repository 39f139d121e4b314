"""Exponents of power laws, fitted to measurements."""

import math
import statistics
from collections.abc import Sequence


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of log(value) by log(size), least squares: p where value ~ size^p.

    Raises:
        ValueError: fewer than two different sizes, or a value that has no logarithm.
    """
    if len(set(sizes)) < 2:
        raise ValueError(f"an exponent needs at least two different sizes, got {sorted(set(sizes))}; measure more")
    if min(*sizes, *values) <= 0:
        raise ValueError(f"sizes and values must be positive, got {list(sizes)} and {list(values)}; measure longer")
    return statistics.linear_regression([math.log(x) for x in sizes], [math.log(y) for y in values]).slope
