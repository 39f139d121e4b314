import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revgn_lab.claims.evidence import of_mean, of_ratio, of_spreads

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=6)


def test_interval_of_three_seeds_is_students():
    found = of_mean([1.0, 2.0, 3.0])
    assert found.value == 2.0
    # 4.3027 is the 97.5 % quantile of t with two degrees of freedom, from any printed table.
    assert found.high - 2.0 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert found.low + found.high == pytest.approx(4.0)


@given(VALUES)
def test_mean_lies_in_its_interval(values):
    found = of_mean(values)
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert found.seeds == len(values)


def test_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [of_mean(list(rng.normal(5.0, 2.0, size=3))) for _ in range(2000)]
    assert np.mean([each.low <= 5.0 <= each.high for each in found]) == pytest.approx(0.95, abs=0.015)


def test_seeds_without_a_finite_value_do_not_count():
    assert of_mean([1.0, math.nan, 3.0]).seeds == 2
    assert of_mean([math.nan]).seeds == 0
    assert math.isnan(of_mean([1.0]).low)


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=5))
def test_inverted_ratios_have_the_inverted_interval(ratios):
    one, other = of_ratio(ratios), of_ratio([1 / ratio for ratio in ratios])
    assert one.value == pytest.approx(1 / other.value)
    assert one.low * other.high == pytest.approx(1.0)


def test_ratios_of_zero_and_infinity_span_the_interval_which_has_no_upper_end_for_lower_bounds():
    found = of_ratio([0.0, 3.0, 4.0])
    assert (found.value, found.low, found.high, found.seeds) == (3.0, 0.0, 4.0, 3)
    assert of_ratio([2.0, math.inf, 4.0]).high == math.inf
    bounded = of_ratio([2.0, 2.2, 2.1], lower_bounds=True)
    assert (bounded.low, bounded.high) == (of_ratio([2.0, 2.2, 2.1]).low, math.inf)


def test_ratio_of_spreads_is_that_of_standard_deviations():
    rng = np.random.default_rng(1)
    theirs = pd.DataFrame(rng.normal(size=(50, 3)))
    found = of_spreads(0.1 * theirs, theirs)
    assert found.value == pytest.approx(0.1)
    # 39.0 is the 97.5 % quantile of F with two and two degrees of freedom.
    assert found.high / found.value == pytest.approx(math.sqrt(39.0), rel=1e-3)
    assert found.value / found.low == pytest.approx(math.sqrt(39.0), rel=1e-3)


def test_spread_needs_two_seeds_and_something_to_compare_with():
    one = pd.DataFrame(np.ones((4, 1)))
    same = pd.DataFrame(np.ones((4, 3)))
    assert math.isnan(of_spreads(one, one).value)
    assert math.isnan(of_spreads(same, same).value)
