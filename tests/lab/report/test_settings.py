import pytest

from revgn_lab.report.collection import collect
from revgn_lab.report.settings import differing_settings, shared_settings
from study_folders import SEEDS, Runs, metrics_of_run, settings_of


def runs_of(home, settings):
    """Runs of a study, by the names of their curves: class, learning rate and settings of their own."""
    made = Runs(home / "study", [])
    for name, (class_path, lr, own) in settings.items():
        for seed in SEEDS:
            frame = metrics_of_run(0.2, seed)
            made.add(["full-batch"], "full batch", name, seed, frame, settings_of(class_path, lr, **own))
    return collect([made.write()])


@pytest.fixture
def runs(tmp_path):
    """Gauss-Newton at two learning rates and Adam, which has settings of its own."""
    newton = {"block_weights": "sum"}
    curves = {"GN": ("GaussNewton", 1.0, newton), "GN, half": ("GaussNewton", 0.5, newton)}
    return runs_of(tmp_path, {**curves, "Adam": ("Adam", 0.1234567, {"eps": 1e-8})})


def test_shared_settings_have_one_value_wherever_they_are(runs):
    shared = shared_settings(runs)
    assert shared["model.hidden_features"] == "2000"
    assert (shared["optimizer.block_weights"], shared["optimizer.eps"]) == ("sum", "1e-08")
    assert not {"optimizer", "optimizer.lr", "seed"} & set(shared)


def test_what_tells_curves_apart_is_a_column(runs):
    table = differing_settings(runs)
    assert list(table.columns) == ["data", "setting", "curve", "seeds", "optimizer", "optimizer.lr"]
    assert table["optimizer.lr"].tolist() == ["1", "0.5", "0.123457"]
    assert set(table["seeds"]) == {"42, 43, 44"}


def test_values_are_told_apart_that_look_alike(tmp_path):
    runs = runs_of(tmp_path, {"one": ("Adam", 0.1234567, {}), "other": ("Adam", 0.1234568, {})})
    assert "optimizer.lr" in differing_settings(runs)


def test_an_argument_that_only_some_runs_of_a_class_have_tells_them_apart(tmp_path):
    solver = {"solver": "Eigh", "solver.rtol": 0.01}
    runs = runs_of(tmp_path, {"exact": ("GaussNewton", 1.0, {}), "truncated": ("GaussNewton", 1.0, solver)})
    assert differing_settings(runs)["optimizer.solver"].tolist() == ["\N{EN DASH}", "Eigh"]
    assert shared_settings(runs)["optimizer.solver.rtol"] == "0.01"
