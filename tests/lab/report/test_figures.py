import io

import numpy as np
import pytest
from matplotlib import image

from revgn_lab.report import figures as figures_module
from revgn_lab.report.drawing import plotly_figure
from revgn_lab.report.figures import LARGEST_CHANGE, figures, overview
from revgn_lab.report.panels import LARGEST_RISE
from revgn_lab.report.printing import matplotlib_figure, picture
from revgn_lab.report.training_figures import loss_on_test_rows
from synthetic import FULL, MINI, OPTIMIZERS, metrics

FRAME = metrics()
FIGURES = {figure.name: figure for figure in figures(FRAME)}
LOG = {"training-loss-by-step", "training-loss-by-seconds", "defect"}


def lines(panel):
    """The traces of a plotly figure that are lines, by name."""
    return {trace.name: trace for trace in plotly_figure(panel).data if trace.fill is None}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_holds_every_setting_and_optimizer(name):
    figure = FIGURES[name]
    expected = {"GaussNewton"} if name == "defect" else set(OPTIMIZERS)
    assert [panel.title for panel in figure.panels] == [FULL, MINI]
    for panel, axes in zip(figure.panels, matplotlib_figure(figure).axes, strict=True):
        assert set(lines(panel)) == expected
        assert expected <= set(axes.get_legend_handles_labels()[1])


@pytest.mark.parametrize("name", FIGURES)
def test_axes_have_labels_and_are_logarithmic_for_losses_and_defects(name):
    figure = FIGURES[name]
    for panel, axes in zip(figure.panels, matplotlib_figure(figure).axes, strict=True):
        layout = plotly_figure(panel).layout
        assert (layout.yaxis.type == "log") == (axes.get_yscale() == "log") == (name in LOG)
        assert layout.xaxis.title.text == axes.get_xlabel() == panel.x_label != ""
        assert layout.yaxis.title.text == axes.get_ylabel() == panel.y_label != ""


def test_there_is_a_figure_of_everything_measured():
    assert list(FIGURES) == [
        "training-loss-by-step",
        "training-loss-by-seconds",
        "test-accuracy",
        "loss-change",
        "defect",
    ]


def test_figures_without_data_are_left_out():
    frame = metrics().assign(loss_after=np.nan, defect=np.nan)
    assert [figure.name for figure in figures(frame)] == list(FIGURES)[:3]


def test_plotly_and_matplotlib_show_the_means_of_the_data():
    panel = FIGURES["training-loss-by-step"].panels[0]
    adam = FRAME[(FRAME["setting"] == FULL) & (FRAME["optimizer"] == "Adam")]
    expected = np.exp(np.log(adam["loss"]).groupby(adam["step"]).mean())
    np.testing.assert_allclose(lines(panel)["Adam"].y, expected)
    np.testing.assert_allclose(lines(panel)["Adam"].x, expected.index)
    axes = matplotlib_figure(FIGURES["training-loss-by-step"]).axes[0]
    drawn = next(line for line in axes.lines if line.get_label() == "Adam")
    np.testing.assert_allclose(drawn.get_ydata(), expected)


def test_band_reaches_from_the_smallest_seed_to_the_largest():
    panel = FIGURES["training-loss-by-step"].panels[0]
    band = next(trace for trace in plotly_figure(panel).data if trace.fill and trace.legendgroup == "Adam")
    adam = FRAME[(FRAME["setting"] == FULL) & (FRAME["optimizer"] == "Adam")].groupby("step")["loss"]
    np.testing.assert_allclose(band.y, [*adam.max(), *adam.min()[::-1]])


def test_one_seed_has_no_band():
    figure = figures(metrics(seeds=(42,)))[0]
    assert all(trace.fill is None for trace in plotly_figure(figure.panels[0]).data)
    assert not matplotlib_figure(figure).axes[0].collections


def test_loss_change_is_in_percent_of_the_loss_before():
    change = lines(FIGURES["loss-change"].panels[0])["Adam"].y
    np.testing.assert_allclose(change, 100 * (np.exp(-0.2) - 1))


def test_loss_change_of_a_bad_step_is_cut_off():
    worse = metrics().assign(loss_after=lambda f: 1e6 * f["loss"])
    panel = next(f for f in figures(worse) if f.name == "loss-change").panels[0]
    np.testing.assert_allclose(lines(panel)["SGD"].y, LARGEST_CHANGE)


def test_loss_change_from_zero_is_unknown():
    frame = metrics()
    frame.loc[frame["step"] > 2, ["loss", "loss_after"]] = 0.0
    panel = next(f for f in figures(frame) if f.name == "loss-change").panels[0]
    assert len(lines(panel)["GaussNewton"].x) == 2


def test_defect_is_compared_with_the_limit_of_exact():
    layout = plotly_figure(FIGURES["defect"].panels[0]).layout
    (shape,), (label,) = layout.shapes, layout.annotations
    assert shape.y0 == shape.y1 == figures_module.FLOAT32_EXACT
    assert label.y == np.log10(figures_module.FLOAT32_EXACT)  # plotly's unit for annotations on logarithmic axes


def test_png_is_a_picture_and_the_same_for_the_same_data():
    content = picture(overview(FRAME))
    assert image.imread(io.BytesIO(content)).shape[1] > 1000
    assert content == picture(overview(metrics()))


def test_clicking_the_legend_takes_the_band_along():
    for trace in plotly_figure(FIGURES["test-accuracy"].panels[0]).data:
        assert trace.legendgroup in OPTIMIZERS


def test_steps_and_epochs_are_counted_in_whole_numbers():
    for axes in matplotlib_figure(FIGURES["test-accuracy"]).axes:
        assert all(tick % 1 == 0 for tick in axes.get_xticks())


@pytest.mark.parametrize(("make", "column"), [(figures_module.loss_by_step, "loss"), (loss_on_test_rows, "test_loss")])
def test_a_diverging_run_leaves_room_for_the_others(make, column):
    frame = metrics()
    sgd = (frame["setting"] == FULL) & (frame["optimizer"] == "SGD")
    frame.loc[sgd & (frame["step"] == 8), column] = 1e30
    frame.loc[sgd & (frame["step"] > 8), column] = np.inf
    full = next(panel for panel in make(frame).panels if panel.title == FULL)
    most = LARGEST_RISE * frame.loc[frame["setting"] == FULL].groupby(["optimizer", "seed"])[column].first().max()
    drawn = {curve.name: curve for curve in full.curves}
    assert drawn["SGD"].mean[-1] == pytest.approx(most)
    assert drawn["SGD"].x[-1] == 8  # what is not finite is not drawn
    before = {curve.name: curve for curve in make(metrics()).panels[0].curves}
    np.testing.assert_array_equal(drawn["Adam"].mean, before["Adam"].mean)
