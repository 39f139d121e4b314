import numpy as np
import pandas as pd
import pytest

from revgn_lab.claims.epochs import by_epoch
from revgn_lab.report.figures.curves import SMALLEST, curves
from revgn_lab.report.figures.palette import styles
from synthetic import FULL, MINI, OPTIMIZERS, metrics


def runs(values, **columns):
    """Full-batch metrics of one optimizer: one list of losses per seed."""
    frames = [
        pd.DataFrame({"loss": losses}).assign(
            setting=FULL, optimizer="Adam", seed=seed, step=range(1, len(losses) + 1), epoch=lambda f: f["step"]
        )
        for seed, losses in enumerate(values)
    ]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(seconds=frame["step"] * (1.0 + frame["seed"]), **columns)


def test_linear_curve_is_the_mean_with_the_range_of_seeds():
    (curve,) = curves(runs([[1.0, 2.0], [3.0, 8.0]]), "loss")
    np.testing.assert_allclose(curve.mean, [2.0, 5.0])
    np.testing.assert_allclose(curve.low, [1.0, 2.0])
    np.testing.assert_allclose(curve.high, [3.0, 8.0])
    assert curve.seeds == 2


def test_logarithmic_curve_is_the_geometric_mean():
    (curve,) = curves(runs([[1.0, 1e-4], [100.0, 1e-8]]), "loss", log=True)
    np.testing.assert_allclose(curve.mean, [10.0, 1e-6])
    np.testing.assert_allclose(curve.low, [1.0, 1e-8])


def test_exact_zero_is_drawn_at_the_smallest_value():
    (curve,) = curves(runs([[1.0, 0.0], [1.0, 1e-30]]), "loss", log=True)
    np.testing.assert_allclose(curve.mean, [1.0, SMALLEST])


@pytest.mark.parametrize("end", [[np.nan, np.nan], [np.inf, np.nan], []], ids=["nan", "inf", "short"])
def test_diverged_run_takes_part_until_its_values_end(end):
    (curve,) = curves(runs([[1.0, 2.0, 3.0], [3.0, *end]]), "loss")
    np.testing.assert_allclose(curve.mean, [2.0, 2.0, 3.0])
    np.testing.assert_allclose(curve.high, [3.0, 2.0, 3.0])


def test_seconds_are_the_mean_over_seeds_at_the_same_step():
    (curve,) = curves(runs([[1.0, 2.0], [3.0, 8.0]]), "loss", axis="seconds")
    np.testing.assert_allclose(curve.x, [1.5, 3.0])
    np.testing.assert_allclose(curve.mean, [2.0, 5.0])


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [("mean", [2.0, 5.0]), ("median", [2.0, 5.0]), ("max", [3.0, 6.0]), ("last", [3.0, 6.0])],
)
def test_epoch_is_reduced_over_its_steps(reduction, expected):
    frame = runs([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]).assign(epoch=[1, 1, 1, 2, 2, 2])
    table = by_epoch(frame, "loss", reduction)
    np.testing.assert_allclose(table["value"], expected)
    assert table["step"].tolist() == [3, 6]
    assert table["seconds"].tolist() == [3.0, 6.0]


def test_optimizers_without_values_have_no_curve():
    frame = metrics()
    found = curves(frame[frame["setting"] == MINI], "defect", log=True)
    assert [curve.name for curve in found] == ["GaussNewton"]


def test_curves_keep_the_order_of_the_frame():
    frame = metrics()
    assert [curve.name for curve in curves(frame[frame["setting"] == FULL], "loss")] == list(OPTIMIZERS)


def test_optimizers_differ_in_colour_dash_and_marker():
    looks = styles(["GaussNewton", "Adam", "a new one", "SGD", "another"])
    for part in ("colour", "dash", "marker"):
        assert len({getattr(style, part) for style in looks.values()}) == 5, part
    assert styles(["Adam"])["Adam"] == looks["Adam"]
