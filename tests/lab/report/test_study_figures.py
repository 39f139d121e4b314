import math

import numpy as np
import pandas as pd
import pytest

from revgn_lab.errors import RunError
from revgn_lab.report.collection import collect, metrics_of
from revgn_lab.report.figures import catalogue
from revgn_lab.report.figures.courses import with_derived
from revgn_lab.report.figures.gaps import GUIDE
from revgn_lab.report.figures.likeness import heat_maps, likeness
from revgn_lab.report.figures.panels import Heatmap
from revgn_lab.report.figures.studies import STUDIES, by_panel, study_figures
from revgn_lab.report.figures.sweeps import swept_value
from revgn_lab.settings.shipped import shipped_studies
from study_folders import OPTIMIZERS, every_study


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return collect([every_study(tmp_path_factory.mktemp("figures") / "study")])


@pytest.fixture(scope="module")
def frame(runs):
    return metrics_of(runs)


def of(frame, study):
    return by_panel(frame[frame["study"] == study])


def panels(shown, frame):
    return shown.figure(with_derived(frame)).panels


def curve(panel, name):
    return next(each for each in panel.curves if each.name == name)


@pytest.mark.parametrize(
    ("study", "names"),
    [
        ("full-batch", {"training-loss-by-step", "test-loss-by-seconds", "training-accuracy", "loss-change", "defect"}),
        ("ntk", {"ntk-similarity", "ntk-change"}),
        ("cka", {"cka", "cka-across-optimizers"}),
        ("weights", {"weight-change", "weight-cosine"}),
        ("exactness", {"defect", "defect-by-half-coupling", "rank-by-half-coupling"}),
        ("theorem", {"gap-by-learning-rate", "training-loss-by-time"}),
        ("learning-rate", {"final-training-loss", "final-test-loss", "final-test-accuracy"}),
        ("regression", {"test-r2", "test-loss-by-step"}),
    ],
)
def test_study_has_its_figures(runs, frame, study, names):
    own = [each for each in runs if each.labels.study == study]
    figures = study_figures(study, of(frame, study), own)
    assert names <= {figure.name for figure in figures}
    assert len({figure.name for figure in figures}) == len(figures)


def test_every_study_of_the_plan_is_known():
    assert {*shipped_studies()} - {"all", "talk"} <= set(STUDIES)


def test_studies_without_a_plan_get_every_figure_with_data(runs, frame):
    own = [each for each in runs if each.labels.study == "ntk"]
    names = {figure.name for figure in study_figures("of my own", of(frame, "ntk"), own)}
    assert {"training-loss-by-step", "ntk-similarity", "cka", "weight-change", "rank-by-half-coupling"} <= names
    assert "test-r2" not in names


def test_kernel_similarity_has_bars_of_the_error_of_the_mean(frame):
    panel = panels(catalogue.SIMILARITY, of(frame, "ntk"))[0]
    found = curve(panel, "Adam")
    assert found.mean[0] == 1
    np.testing.assert_allclose(found.error, [0, *[0.01 / math.sqrt(3)] * 12])


def test_exact_kernels_have_no_bars(frame):
    exact = of(frame, "ntk").assign(ntk_similarity_error=0.0)
    assert curve(panels(catalogue.SIMILARITY, exact)[0], "Adam").error is None


def test_there_is_a_panel_for_each_setting_and_block(frame):
    titles = [panel.title for panel in panels(catalogue.BLOCK_CKA, of(frame, "cka"))]
    assert titles == ["full batch, block 1", "full batch, block 2", "mini-batches, block 1", "mini-batches, block 2"]


def test_the_lowest_cka_is_that_of_the_block_that_moved_most(frame):
    panel = panels(catalogue.LOWEST_CKA, of(frame, "cka"))[0]
    second = panels(catalogue.BLOCK_CKA, of(frame, "cka"))[1]  # which moves twice as far as the first
    np.testing.assert_allclose(curve(panel, "Adam").mean, curve(second, "Adam").mean)


def test_weights_that_did_not_move_are_not_drawn(frame):
    names = {panel.title: panel.names for panel in panels(catalogue.WEIGHTS[0], of(frame, "weights"))}
    assert "GN exact" not in names["full batch, block 1f"]
    assert set(names["full batch, block 2f"]) == set(OPTIMIZERS)


def test_only_solved_half_couplings_have_defects_and_ranks(frame):
    for shown in catalogue.EXACTNESS[1:]:
        names = {panel.title: panel.names for panel in panels(shown, of(frame, "exactness"))}
        assert names["full batch, block 1g"] == ["GN as released"]
        assert names["mini-batches, block 2g"] == ["GN exact", "GN as released"]


def test_figures_of_what_was_not_recorded_are_empty(frame):
    plain = frame[["setting", "optimizer", "seed", "step", "epoch", "seconds", "lr", "loss"]]
    known = {"training-loss-by-step", "training-loss-by-seconds", "final-training-loss", "training-loss-by-time"}
    known |= {"gap-by-learning-rate"}
    shown = [each for _, figures in STUDIES.values() for each in figures if each.kind is not heat_maps]
    assert {each.name for each in shown if panels(each, plain)} == known


def test_gap_is_drawn_over_the_learning_rate_with_its_slope(frame):
    (panel,) = panels(catalogue.THEOREM[0], of(frame, "theorem"))
    assert panel.log_x
    assert panel.log
    assert panel.names == ["GN exact", "GN last block", "GN weights 1:3", GUIDE]
    exact = curve(panel, "GN exact")
    np.testing.assert_allclose(exact.x, [0.05, 0.1, 0.2, 0.4])
    slope = np.polyfit(np.log(exact.x), np.log(exact.mean), 1)[0]
    assert exact.note == f"slope {slope:.2f}"
    assert slope == pytest.approx(1.0, abs=0.02)
    guide = curve(panel, GUIDE)
    assert guide.mean[1] / guide.mean[0] == pytest.approx(guide.x[1] / guide.x[0])


def test_each_data_set_has_its_own_theoretical_step(frame):
    digits = of(frame, "theorem")
    fashion = digits.replace({"optimizer": {"J^+ (dense)": "J^+ (tangent kernel)"}}).assign(dataset="fashion-mnist")
    one, other = panels(catalogue.THEOREM[0], pd.concat([digits, fashion]))
    assert (one.title, other.title) == ("digits", "fashion-mnist")
    assert one.names == other.names
    assert other.y_label == "largest relative gap to J^+ (tangent kernel)"


def test_settings_stand_side_by_side_in_a_panel_for_each_network(frame):
    mini = of(frame, "mini-batch")
    settings = ("RevMLP, full batch", "RevMLP, full batch, lr 0.3", "MLP, full batch")
    both = pd.concat(
        [mini.assign(setting=name, test_accuracy=mini["test_accuracy"] + i) for i, name in enumerate(settings)]
    )
    reversible, plain = panels(catalogue.RIGHT_INVERSES[0], both)
    assert (reversible.title, plain.title) == ("RevMLP", "MLP")
    assert reversible.ticks == ((0.0, "full batch"), (1.0, "full batch, lr 0.3"))
    ends = mini[mini["optimizer"] == "Adam"].dropna(subset="test_accuracy").groupby("seed")["test_accuracy"].last()
    found = curve(reversible, "Adam")
    np.testing.assert_allclose(
        [found.low, found.mean, found.high], np.add.outer([ends.min(), ends.mean(), ends.max()], [0, 1])
    )


def test_theorem_compares_losses_at_equal_times(frame):
    found = panels(catalogue.THEOREM[1], of(frame, "theorem"))
    assert [panel.title for panel in found] == ["lr 0.4", "lr 0.2", "lr 0.1", "lr 0.05"]
    for panel, lr in zip(found, (0.4, 0.2, 0.1, 0.05), strict=True):
        assert curve(panel, "GN exact").x[[0, -1]] == pytest.approx([0.0, 4 - lr])


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("lr 0.1", ("lr", 0.1)),
        ("init std 1e-3", ("init std", 1e-3)),
        ("full batch, rtol 0.03", ("full batch, rtol", 0.03)),
        ("batch size 1,024", ("batch size", 1024.0)),
        ("weight decay 0", ("weight decay", 0.0)),
        ("rtol=1e-2", ("rtol", 0.01)),
    ],
)
def test_swept_value_is_the_number_at_the_end(setting, expected):
    assert swept_value(setting) == expected


def test_setting_without_a_number_has_no_swept_value():
    words, value = swept_value("full batch")
    assert words == "full batch"
    assert math.isnan(value)


def test_sweep_is_drawn_over_its_values(frame):
    (panel,) = panels(catalogue.SWEEP[2], of(frame, "learning-rate"))
    assert (panel.x_label, panel.log_x, panel.ticks) == ("lr", True, ())
    adam = curve(panel, "Adam")
    np.testing.assert_allclose(adam.x, [0.01, 0.1, 1.0])
    ends = frame[(frame["study"] == "learning-rate") & (frame["optimizer"] == "Adam") & (frame["step"] == 4)]
    np.testing.assert_allclose(adam.mean, ends.groupby("setting", sort=True)["test_accuracy"].mean())


@pytest.mark.parametrize("final", catalogue.SWEEP[:3], ids=lambda shown: shown.name)
def test_diverged_runs_have_no_place_in_a_sweep(frame, final):
    swept = of(frame, "learning-rate").copy()
    diverged = (swept["optimizer"] == "Adam") & (swept["setting"] == "lr 1") & (swept["step"] == 4)
    swept.loc[diverged, ["loss", "test_loss", "test_accuracy"]] = np.nan
    (panel,) = panels(final, swept)
    np.testing.assert_allclose(curve(panel, "Adam").x, [0.01, 0.1])


def test_settings_without_a_number_stand_beside_those_with_one(frame):
    (batches,) = panels(catalogue.SWEEP[0], of(frame, "batch-size"))
    assert [words for _, words in batches.ticks] == ["16", "64", "full batch"]
    truncation, damping = panels(catalogue.SWEEP[0], of(frame, "regularisation"))
    assert [words for _, words in truncation.ticks] == ["none", "0.1", "0.01"]
    assert [words for _, words in damping.ticks] == ["none", "0.1", "0.001"]


def test_zero_has_a_place_in_a_sweep(frame):
    decayed = of(frame, "learning-rate").replace({"setting": {"lr 0.01": "lr 0"}})
    (panel,) = panels(catalogue.SWEEP[0], decayed)
    assert [words for _, words in panel.ticks] == ["0", "0.1", "1"]
    assert not panel.log_x


def test_sweeps_of_several_data_sets_keep_their_settings_apart(frame):
    both = pd.concat([of(frame, "batch-size"), of(frame, "batch-size").assign(dataset="mnist")])
    found = panels(catalogue.SWEEP[0], by_panel(both))
    assert [panel.x_label for panel in found] == ["digits, batch", "mnist, batch"]
    assert all(len(panel.ticks) == 3 for panel in found)


def test_values_of_a_sweep_are_the_curves_of_an_optimizer(frame):
    found = panels(catalogue.SWEEP[4], of(frame, "learning-rate"))
    assert [(panel.title, panel.names) for panel in found] == [
        ("GN exact", ["lr 0.01", "lr 0.1", "lr 1"]),
        ("Adam", ["lr 0.01", "lr 0.1", "lr 1"]),
    ]


def test_data_sets_have_panels_of_their_own(frame):
    titles = [panel.title for panel in panels(catalogue.LOSS, of(frame, "regression"))]
    assert titles == ["diabetes, full batch", "concrete, full batch"]


def test_likeness_is_symmetric_and_one_with_itself(runs):
    table = likeness([each for each in runs if each.labels.study == "cka"])
    assert set(table["block"]) == {"1", "2"}
    itself = table[table["a"] == table["b"]]
    np.testing.assert_allclose(itself["cka"], 1.0)
    keys = ["setting", "seed", "block"]
    swapped = table.rename(columns={"a": "b", "b": "a"})
    both = table.merge(swapped, on=[*keys, "a", "b"])
    np.testing.assert_allclose(both["cka_x"], both["cka_y"])
    assert len(table) == 2 * 3 * 2 * 4 * 4


def test_heat_map_holds_the_mean_over_seeds(runs):
    table = likeness([each for each in runs if each.labels.study == "cka"])
    heatmap = catalogue.ACROSS.figure(table).panels[0]
    assert isinstance(heatmap, Heatmap)
    assert heatmap.names == list(OPTIMIZERS)
    one = table[(table["setting"] == "full batch") & (table["block"] == "1") & (table["a"] == "Adam")]
    np.testing.assert_allclose(heatmap.values[2], [one[one["b"] == name]["cka"].mean() for name in OPTIMIZERS])


def test_damaged_representations_are_an_error_that_says_what_to_do(runs):
    one = next(each for each in runs if each.labels.study == "cka")
    path = one.record.folder / "representations.npz"
    content = path.read_bytes()
    try:
        path.write_bytes(content[:100])
        with pytest.raises(RunError, match=r"representations.npz cannot be read .* run it again"):
            likeness([one])
    finally:
        path.write_bytes(content)
