"""Scaling, the dealing out of rows, the scale of intervals, chunks, and learnt values as arrays."""

import itertools
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")

from revgn.estimators.arrays import put_together, take_apart
from revgn.estimators.calibration import interval_scale
from revgn.estimators.chunk_steps import _chunks
from revgn.estimators.row_chunks import chunks
from revgn.estimators.scaling import Scaling


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1.0, 1e160, 1e300])
def test_scaling_gives_mean_zero_and_variance_one_in_any_unit(unit):
    x = np.random.RandomState(0).randn(50, 3) + 2
    weight = np.random.RandomState(1).uniform(0, 2, 50)
    scaling = Scaling.of(unit * x, weight)
    scaled = scaling.apply(unit * x)
    np.testing.assert_allclose(np.average(scaled, axis=0, weights=weight), 0, atol=1e-12)
    np.testing.assert_allclose(np.average(scaled**2, axis=0, weights=weight), 1, rtol=1e-12)
    np.testing.assert_allclose(scaling.undo(scaled), unit * x, rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e200, 1e-310])
def test_constant_columns_become_zero(value):
    x = np.full((7, 1), value)
    np.testing.assert_array_less(np.abs(Scaling.of(x, np.full(7, 0.3)).apply(x)), 1e-12 * max(1.0, abs(value)))


@pytest.mark.parametrize(("n", "size", "networks"), [(10, 10, 3), (11, 10, 2), (20, 10, 2), (17, 5, 4), (99, 50, 8)])
def test_every_row_has_a_network_and_no_network_a_row_twice(n, size, networks):
    found = chunks(n, size, networks, np.random.RandomState(0))
    assert len(found) == networks
    for rows in found:
        assert len(np.unique(rows)) == len(rows) == min(n, size)
    assert set(np.concatenate(found).tolist()) == set(range(n))


def test_more_rows_than_networks_can_take_are_refused_with_advice():
    with pytest.raises(ValueError, match=r"21 rows, more than the 20 that 2 networks .*HistGradientBoosting"):
        chunks(21, 10, 2, np.random.RandomState(0))


def test_chunks_take_each_row_once_before_any_comes_again():
    found = [chunk.tolist() for chunk in itertools.islice(_chunks(25, 10, 0), 10)]
    assert all(len(set(chunk)) == 10 for chunk in found)
    counts = np.bincount(np.concatenate(found), minlength=25)
    assert set(counts.tolist()) == {4}
    assert [chunk.tolist() for chunk in itertools.islice(_chunks(5, 10, 0), 2)] == [[0, 1, 2, 3, 4]] * 2


def test_scaled_intervals_cover_nine_tenths_of_the_rows_whatever_the_tails():
    random = np.random.RandomState(0)
    residuals, deviations = random.standard_t(2, 1000), random.uniform(0.5, 2, 1000)
    scale = interval_scale(residuals, deviations, np.ones(1000))
    assert (np.abs(residuals) <= 1.6448536 * scale * deviations).mean() == pytest.approx(0.9, abs=2e-3)


def test_interval_scale_counts_rows_by_their_weights_and_says_nothing_of_few():
    random = np.random.RandomState(0)
    residuals, deviations, weight = random.randn(60), random.uniform(0.5, 2, 60), random.randint(1, 4, 60)
    again = np.repeat(np.arange(60), weight)
    assert interval_scale(residuals, deviations, weight) == interval_scale(
        residuals[again], deviations[again], np.ones(len(again))
    )
    assert interval_scale(residuals[:10], deviations[:10], np.ones(10)) == 1.0
    assert interval_scale(residuals, np.zeros(60), np.ones(60)) == 1.0


def test_learnt_values_come_back_from_arrays_and_plain_values():
    value = [
        Scaling(np.arange(3.0), np.ones(3)), 1, 2.5, None, True, "a", np.array(["x", "y"]),
        np.array(["x", 1], dtype=object), np.float64(0.1), np.array([True, False]),
    ]  # fmt: skip
    arrays = {}
    back = put_together(take_apart(value, "it", arrays), arrays)
    assert set(arrays) == {"it.0.center", "it.0.scale", "it.9"}
    np.testing.assert_array_equal(back[0].center, value[0].center)
    assert back[1:6] == value[1:6]
    for ours, theirs in zip(back[6:], value[6:], strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(TypeError, match="it is a set"):
        take_apart({1}, "it", {})


def test_missing_scikit_learn_is_said_in_a_line(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("revgn.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"revgn.estimators needs scikit-learn: pip install 'revgn\[sklearn\]'"):
        __import__("revgn.estimators")
