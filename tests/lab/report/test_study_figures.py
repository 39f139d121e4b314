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
from revgn_lab.report.figures.studies import STUDIES, by_panel, study_figures
from revgn_lab.report.figures.sweeps import swept_value
from revgn_lab.settings.shipped import shipped_studies
from study_folders import OPTIMIZERS, Runs, every_study, metrics_of_run, settings_of


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


FIGURES = {
    "full-batch": {"training-loss-by-step", "test-loss-by-seconds", "training-accuracy", "loss-change", "defect"},
    "ntk": {"ntk-similarity", "ntk-change"},
    "cka": {"cka", "cka-across-optimizers"},
    "weights": {"weight-change", "weight-cosine"},
    "exactness": {"defect", "defect-by-half-coupling", "rank-by-half-coupling"},
    "theorem": {"gap-by-learning-rate", "training-loss-by-time"},
    "learning-rate": {"final-training-loss", "final-test-loss", "final-test-accuracy"},
    "regression": {"test-r2", "test-loss-by-step"},
}


@pytest.mark.parametrize("study", FIGURES)
def test_study_has_its_figures(runs, frame, study):
    own = [each for each in runs if each.labels.study == study]
    names = [figure.name for figure in study_figures(study, of(frame, study), own)]
    assert set(names) >= FIGURES[study]
    assert len(set(names)) == len(names)


def test_every_study_of_the_plan_is_known_and_others_get_every_figure_with_data(runs, frame):
    assert {*shipped_studies()} - {"all", "talk"} <= set(STUDIES)
    own = [each for each in runs if each.labels.study == "ntk"]
    names = {figure.name for figure in study_figures("of my own", of(frame, "ntk"), own)}
    assert {"training-loss-by-step", "ntk-similarity", "cka", "weight-change", "rank-by-half-coupling"} <= names
    assert "test-r2" not in names


def test_kernel_similarity_has_bars_of_the_error_of_the_mean_unless_kernels_are_exact(frame):
    estimated, exact = of(frame, "ntk"), of(frame, "ntk").assign(ntk_similarity_error=0.0)
    found, without = (curve(panels(catalogue.SIMILARITY, each)[0], "Adam") for each in (estimated, exact))
    assert found.mean[0] == 1
    np.testing.assert_allclose(found.error, [0, *[0.01 / math.sqrt(3)] * 12])
    assert without.error is None


def test_there_is_a_panel_for_each_setting_and_block_and_the_lowest_cka_is_of_the_block_that_moved_most(frame):
    blocks = panels(catalogue.BLOCK_CKA, of(frame, "cka"))
    assert [panel.title for panel in blocks] == [
        f"{setting}, block {block}" for setting in ("full batch", "mini-batches") for block in (1, 2)
    ]
    lowest = panels(catalogue.LOWEST_CKA, of(frame, "cka"))[0]
    # The second block moves twice as far as the first.
    np.testing.assert_allclose(curve(lowest, "Adam").mean, curve(blocks[1], "Adam").mean)


def test_weights_that_did_not_move_and_half_couplings_that_were_not_solved_are_not_drawn(frame):
    moved, *solved = (catalogue.WEIGHTS[0], *catalogue.EXACTNESS[1:])
    names = {panel.title: panel.names for panel in panels(moved, of(frame, "weights"))}
    assert "GN exact" not in names["full batch, block 1f"]
    assert set(names["full batch, block 2f"]) == set(OPTIMIZERS)
    for shown in solved:
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
    assert (panel.log_x, panel.log) == (True, True)
    assert panel.names == ["GN exact", "GN last block", "GN weights 1:3", GUIDE]
    exact, guide = curve(panel, "GN exact"), curve(panel, GUIDE)
    np.testing.assert_allclose(exact.x, [0.05, 0.1, 0.2, 0.4])
    slope = np.polyfit(np.log(exact.x), np.log(exact.mean), 1)[0]
    assert exact.note == f"slope {slope:.2f}"
    assert slope == pytest.approx(1.0, abs=0.02)
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
    moved = [mini.assign(setting=name, test_accuracy=mini["test_accuracy"] + i) for i, name in enumerate(settings)]
    reversible, plain = panels(catalogue.RIGHT_INVERSES[0], pd.concat(moved))
    assert (reversible.title, plain.title) == ("RevMLP", "MLP")
    assert reversible.ticks == ((0.0, "full batch"), (1.0, "full batch, lr 0.3"))
    ends = mini[mini["optimizer"] == "Adam"].dropna(subset="test_accuracy").groupby("seed")["test_accuracy"].last()
    found = curve(reversible, "Adam")
    expected = np.add.outer([ends.min(), ends.mean(), ends.max()], [0, 1])
    np.testing.assert_allclose([found.low, found.mean, found.high], expected)


def test_theorem_compares_losses_at_equal_times(frame):
    found = {panel.title: curve(panel, "GN exact").x for panel in panels(catalogue.THEOREM[1], of(frame, "theorem"))}
    assert list(found) == ["lr 0.4", "lr 0.2", "lr 0.1", "lr 0.05"]
    for title, times in found.items():
        assert times[[0, -1]] == pytest.approx([0.0, 4 - float(title.removeprefix("lr "))])


@pytest.mark.parametrize(
    ("setting", "words", "number"),
    [
        ("lr 0.1", "lr", 0.1),
        ("init std 1e-3", "init std", 1e-3),
        ("full batch, rtol 0.03", "full batch, rtol", 0.03),
        ("batch size 1,024", "batch size", 1024.0),
        ("weight decay 0", "weight decay", 0.0),
        ("rtol=1e-2", "rtol", 0.01),
        ("full batch", "full batch", math.nan),
    ],
)
def test_swept_value_is_the_number_at_the_end_if_there_is_one(setting, words, number):
    assert swept_value(setting) == (words, pytest.approx(number, nan_ok=True))


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


def test_settings_without_a_number_and_zero_have_a_place_in_a_sweep(frame):
    decayed = of(frame, "learning-rate").replace({"setting": {"lr 0.01": "lr 0"}})
    swept = (of(frame, "batch-size"), of(frame, "regularisation"), decayed)
    found = [panel for each in swept for panel in panels(catalogue.SWEEP[0], each)]
    assert [" ".join(words for _, words in panel.ticks) for panel in found] == [
        *("16 64 full batch", "none 0.1 0.01", "none 0.1 0.001", "0 0.1 1")
    ]
    assert not any(panel.log_x for panel in found)


def test_data_sets_have_panels_of_their_own_in_which_sweeps_keep_their_settings_apart(frame):
    titles = [panel.title for panel in panels(catalogue.LOSS, of(frame, "regression"))]
    assert titles == ["diabetes, full batch", "concrete, full batch"]
    both = pd.concat([of(frame, "batch-size"), of(frame, "batch-size").assign(dataset="mnist")])
    found = panels(catalogue.SWEEP[0], by_panel(both))
    assert [panel.x_label for panel in found] == ["digits, batch", "mnist, batch"]
    assert all(len(panel.ticks) == 3 for panel in found)


def test_values_of_a_sweep_are_the_curves_of_an_optimizer(frame):
    found = panels(catalogue.SWEEP[4], of(frame, "learning-rate"))
    assert [(panel.title, panel.names) for panel in found] == [
        (name, ["lr 0.01", "lr 0.1", "lr 1"]) for name in ("GN exact", "Adam")
    ]


def test_heat_maps_hold_the_mean_over_seeds_of_a_likeness_that_is_symmetric_and_one_with_itself(runs):
    table = likeness([each for each in runs if each.labels.study == "cka"])
    assert len(table) == 2 * 3 * 2 * 4 * 4
    assert set(table["block"]) == {"1", "2"}
    np.testing.assert_allclose(table[table["a"] == table["b"]]["cka"], 1.0)
    swapped = table.rename(columns={"a": "b", "b": "a"})
    both = table.merge(swapped, on=["setting", "seed", "block", "a", "b"])
    np.testing.assert_allclose(both["cka_x"], both["cka_y"])
    heatmap = catalogue.ACROSS.figure(table).panels[0]
    assert heatmap.names == list(OPTIMIZERS)
    one = table[(table["setting"] == "full batch") & (table["block"] == "1") & (table["a"] == "Adam")]
    np.testing.assert_allclose(heatmap.values[2], [one[one["b"] == name]["cka"].mean() for name in OPTIMIZERS])


def test_damaged_representations_are_an_error_that_says_what_to_do(tmp_path):
    runs = Runs(tmp_path, [])
    folder = runs.add(["cka"], "full batch", "Adam", 1, metrics_of_run(0.2, 1), settings_of("Adam", 0.1))
    (folder / "representations.npz").write_bytes(b"PK half an archive")
    with pytest.raises(RunError, match=r"representations.npz cannot be read .* run it again"):
        likeness(collect([runs.write()]))
