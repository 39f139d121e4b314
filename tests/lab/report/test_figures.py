import numpy as np
import pandas as pd
import pytest

from revgn_lab.claims.epochs import by_epoch
from revgn_lab.report.figures.catalogue import LARGEST_CHANGE, LARGEST_RISE, LOSS, TEST_LOSS
from revgn_lab.report.figures.courses import with_derived
from revgn_lab.report.figures.curves import SMALLEST, curves
from revgn_lab.report.figures.studies import study_figures
from synthetic import FULL, MINI, OPTIMIZERS, metrics

FRAME = metrics()
LOG = {"training-loss-by-step", "training-loss-by-seconds", "defect"}


def runs(values):
    """Full-batch metrics of one optimizer: one list of losses per seed."""
    frames = [
        pd.DataFrame({"loss": losses, "step": range(1, len(losses) + 1), "setting": FULL, "optimizer": "Adam"}).assign(
            seed=seed, epoch=lambda f: f["step"], seconds=lambda f: f["step"] * (1.0 + f["seed"])
        )
        for seed, losses in enumerate(values)
    ]
    return pd.concat(frames, ignore_index=True)


CURVES = {
    "linear": ([[1.0, 2.0], [3.0, 8.0]], {}, {"mean": [2.0, 5.0], "low": [1.0, 2.0], "high": [3.0, 8.0], "seeds": 2}),
    "logarithmic": ([[1.0, 1e-4], [100.0, 1e-8]], {"log": True}, {"mean": [10.0, 1e-6], "low": [1.0, 1e-8]}),
    "exact zero": ([[1.0, 0.0], [1.0, 1e-30]], {"log": True}, {"mean": [1.0, SMALLEST]}),
    "by seconds": ([[1.0, 2.0], [3.0, 8.0]], {"axis": "seconds"}, {"x": [1.5, 3.0], "mean": [2.0, 5.0]}),
} | {
    f"diverged, {name}": ([[1.0, 2.0, 3.0], [3.0, *end]], {}, {"mean": [2.0, 2.0, 3.0], "high": [3.0, 2.0, 3.0]})
    for name, end in {"nan": [np.nan, np.nan], "inf": [np.inf, np.nan], "short": []}.items()
}


@pytest.mark.parametrize(("losses", "options", "expected"), CURVES.values(), ids=CURVES)
def test_curve_is_the_mean_of_all_finite_values_of_the_seeds_between_their_extremes(losses, options, expected):
    (curve,) = curves(runs(losses), "loss", **options)
    for part, values in expected.items():
        np.testing.assert_allclose(getattr(curve, part), values, err_msg=part)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [("mean", [2.0, 5.0]), ("median", [2.0, 5.0]), ("max", [3.0, 6.0]), ("last", [3.0, 6.0])],
)
def test_epoch_is_reduced_over_its_steps(reduction, expected):
    table = by_epoch(runs([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]).assign(epoch=[1, 1, 1, 2, 2, 2]), "loss", reduction)
    np.testing.assert_allclose(table["value"], expected)
    assert (table["step"].tolist(), table["seconds"].tolist()) == ([3, 6], [3.0, 6.0])


def figures(frame):
    return {figure.name: figure for figure in study_figures("demo", frame, [])}


FIGURES = figures(FRAME)


def drawn(figure, setting=FULL):
    panel = next(panel for panel in figure.panels if panel.title == setting)
    return {curve.name: curve for curve in panel.curves}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_holds_every_setting_and_the_optimizers_with_values_in_their_order(name):
    assert [panel.title for panel in FIGURES[name].panels] == [FULL, MINI]
    for panel in FIGURES[name].panels:
        assert panel.names == (["GaussNewton"] if name == "defect" else list(OPTIMIZERS))
        assert panel.log == (name in LOG)
        assert panel.x_label
        assert panel.y_label


def test_there_is_a_figure_of_everything_measured_and_of_nothing_else():
    assert list(FIGURES) == [
        *("training-loss-by-step", "training-loss-by-seconds", "test-accuracy", "loss-change", "defect")
    ]
    assert list(figures(metrics().assign(loss_after=np.nan, defect=np.nan))) == list(FIGURES)[:3]


def test_losses_are_drawn_by_their_geometric_mean_with_a_band_of_all_seeds():
    found = drawn(FIGURES["training-loss-by-step"])["Adam"]
    losses = FRAME[(FRAME["setting"] == FULL) & (FRAME["optimizer"] == "Adam")].groupby("step")["loss"]
    np.testing.assert_allclose(found.mean, losses.agg(lambda each: np.exp(np.log(each).mean())))
    np.testing.assert_allclose([found.low, found.high], [losses.min(), losses.max()])


def test_loss_change_is_in_percent_of_the_loss_before_cut_off_where_bad_and_unknown_from_zero():
    np.testing.assert_allclose(drawn(FIGURES["loss-change"])["Adam"].mean, 100 * (np.exp(-0.2) - 1))
    worse = metrics().assign(loss_after=lambda f: 1e6 * f["loss"])
    np.testing.assert_allclose(drawn(figures(worse)["loss-change"])["SGD"].mean, LARGEST_CHANGE)
    zero = metrics()
    zero.loc[zero["step"] > 2, ["loss", "loss_after"]] = 0.0
    assert len(drawn(figures(zero)["loss-change"])["GaussNewton"].x) == 2


@pytest.mark.parametrize("shown", [LOSS, TEST_LOSS], ids=lambda shown: shown.name)
def test_a_diverging_run_leaves_room_for_the_others(shown):
    frame, column = metrics(), shown.column
    sgd = (frame["setting"] == FULL) & (frame["optimizer"] == "SGD")
    frame.loc[sgd & (frame["step"] == 8), column] = 1e30
    frame.loc[sgd & (frame["step"] > 8), column] = np.inf
    most = LARGEST_RISE * frame.loc[frame["setting"] == FULL].groupby(["optimizer", "seed"])[column].first().max()
    found = drawn(shown.figure(with_derived(frame)))
    assert found["SGD"].mean[-1] == pytest.approx(most)
    assert found["SGD"].x[-1] == 8  # what is not finite is not drawn
    np.testing.assert_array_equal(found["Adam"].mean, drawn(shown.figure(with_derived(FRAME)))["Adam"].mean)
