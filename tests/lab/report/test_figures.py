import numpy as np
import pytest

from revgn_lab.report.figures.catalogue import LARGEST_CHANGE, LARGEST_RISE, LOSS, TEST_LOSS
from revgn_lab.report.figures.courses import with_derived
from revgn_lab.report.figures.studies import study_figures
from synthetic import FULL, MINI, OPTIMIZERS, metrics

FRAME = metrics()
LOG = {"training-loss-by-step", "training-loss-by-seconds", "defect"}


def figures(frame):
    return {figure.name: figure for figure in study_figures("demo", frame, [])}


FIGURES = figures(FRAME)


def curves(figure, setting=FULL):
    panel = next(panel for panel in figure.panels if panel.title == setting)
    return {curve.name: curve for curve in panel.curves}


def adam(column="loss"):
    return FRAME[(FRAME["setting"] == FULL) & (FRAME["optimizer"] == "Adam")].groupby("step")[column]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_holds_every_setting_and_optimizer(name):
    figure = FIGURES[name]
    expected = {"GaussNewton"} if name == "defect" else set(OPTIMIZERS)
    assert [panel.title for panel in figure.panels] == [FULL, MINI]
    for panel in figure.panels:
        assert set(panel.names) == expected
        assert panel.log == (name in LOG)
        assert panel.x_label
        assert panel.y_label


def test_there_is_a_figure_of_everything_measured():
    assert list(FIGURES) == [
        "training-loss-by-step",
        "training-loss-by-seconds",
        "test-accuracy",
        "loss-change",
        "defect",
    ]


def test_figures_without_data_are_left_out():
    assert list(figures(metrics().assign(loss_after=np.nan, defect=np.nan))) == list(FIGURES)[:3]


def test_curve_is_the_geometric_mean_with_a_band_of_all_seeds():
    found = curves(FIGURES["training-loss-by-step"])["Adam"]
    expected = adam().agg(lambda losses: np.exp(np.log(losses).mean()))
    np.testing.assert_allclose(found.x, expected.index)
    np.testing.assert_allclose(found.mean, expected)
    np.testing.assert_allclose([found.low, found.high], [adam().min(), adam().max()])


def test_loss_change_is_in_percent_of_the_loss_before():
    np.testing.assert_allclose(curves(FIGURES["loss-change"])["Adam"].mean, 100 * (np.exp(-0.2) - 1))


def test_loss_change_of_a_bad_step_is_cut_off():
    worse = metrics().assign(loss_after=lambda f: 1e6 * f["loss"])
    np.testing.assert_allclose(curves(figures(worse)["loss-change"])["SGD"].mean, LARGEST_CHANGE)


def test_loss_change_from_zero_is_unknown():
    frame = metrics()
    frame.loc[frame["step"] > 2, ["loss", "loss_after"]] = 0.0
    assert len(curves(figures(frame)["loss-change"])["GaussNewton"].x) == 2


@pytest.mark.parametrize("shown", [LOSS, TEST_LOSS], ids=lambda shown: shown.name)
def test_a_diverging_run_leaves_room_for_the_others(shown):
    frame, column = metrics(), shown.column
    sgd = (frame["setting"] == FULL) & (frame["optimizer"] == "SGD")
    frame.loc[sgd & (frame["step"] == 8), column] = 1e30
    frame.loc[sgd & (frame["step"] > 8), column] = np.inf
    most = LARGEST_RISE * frame.loc[frame["setting"] == FULL].groupby(["optimizer", "seed"])[column].first().max()
    drawn = curves(shown.figure(with_derived(frame)))
    assert drawn["SGD"].mean[-1] == pytest.approx(most)
    assert drawn["SGD"].x[-1] == 8  # what is not finite is not drawn
    np.testing.assert_array_equal(drawn["Adam"].mean, curves(shown.figure(with_derived(FRAME)))["Adam"].mean)
