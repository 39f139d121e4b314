"""Every benchmark, in sizes that take seconds: it runs, and its JSON holds what it promises."""

import importlib
import json

import pytest

# the options of a tiny run, and what every row of its JSON holds
BENCHMARKS = {
    "block_weights": (["--seeds", "1"], {"setting", "weights", "lr", "seeds", "loss", "accuracy", "pace", "runs"}),
    "dense": (["--rows", "8"], {"rows", "parameters", "method", "seconds", "rate", "steps", "time", "memory"}),
    "estimators": (
        ["diabetes", "wine", "--folds", "2"],
        {"table", "method", "folds", "error", "se", "covered", "log_loss", "fit", "by_fold"},
    ),
    "generalisation": (
        ["norm", "layers", "--seeds", "1"],
        {"part", "setting", "power", "steps", "loss", "accuracy", "lowest", "highest", "change", "moved", "runs"},
    ),
    "lean": (["--pairs", "1"], {"path", "blocks", "memory", "parameters"}),
    "lm": (
        ["sinc", "mlp", "wide-30", "--seeds", "1"],
        {"problem", "method", "success", "share", "steps", "seconds", "pace", "memory", "options", "runs", "tried"},
    ),
    "many_processes": (
        ["--processes"],
        {
            "sharded",
            "method",
            "world",
            "operations",
            "share",
            "held",
            "memory",
            "messages",
            "received",
            "sent",
            "paper",
        },
    ),
    "monotone": (
        ["digits", "--steps", "2"],
        {"data", "loss", "init_std", "first", "last", "steps", "accepted", "rises", "free"},
    ),
    "moore_penrose": (
        ["--pairs", "1"],
        {"setting", "method", "seconds", "ratio", "lowest", "highest", "products", "floor", "memory"},
    ),
    "mini_batch": (
        ["Adam", "FOOF", "--networks", "MLP", "--epochs", "1", "--trials", "2", "--seeds", "2", "--pairs", "1"],
        {"network", "method", "epochs", "chosen", "validation", "test_1", "best", "ratio", "curves", "tried", "plan"},
    ),
    "quick": (["--pairs", "1"], {"network", "method", "products", "theory", "seconds", "ratio", "lowest", "highest"}),
    "right_inverses": (["--seeds", "1", "--pairs", "1"], {"part", "setting", "method", "seconds", "ratio", "defect"}),
    "saturation": (
        ["--epochs", "2", "--seeds", "1"],
        {"setting", "changed", "lr", "early", "loss", "lowest", "highest", "went_on", "training", "test", "curves"},
    ),
    "scaling": (
        ["L", "n", "--rounds", "1"],
        {"sweep", "blocks", "rows", "hidden", "state", "seconds", "predicted_seconds", "memory_kept", "memory_rebuilt"},
    ),
    "small_tables": (
        ["diabetes", "--splits", "1", "--networks", "2"],
        {"table", "method", "one", "mean", "steps", "effective", "seconds", "one_by_split", "mean_by_split"},
    ),
    "solvers": (["--pairs", "1"], {"rows", "hidden", "solver", "rank", "error", "moved"}),
    "step": (
        ["digits", "--pairs", "1"],
        {"setting", "method", "seconds", "ratio", "lowest", "highest", "products", "theory", "defect"},
    ),
    "time_to_loss": (["mse"], {"loss", "method", "setting", "pace", "time_0.001", "steps", "curve", "tried"}),
}
FIGURES = {
    "saturation": "saturation.png",
    "scaling": "scaling.png",
    "dense": "dense.png",
    "time_to_loss": "time-to-loss.png",
    "right_inverses": "right-inverses.png",
    "generalisation": "generalisation.png",
    "many_processes": "many-processes.png",
    "mini_batch": "mini-batch.png",
}


def run(name, *options):
    return importlib.import_module(name).main(["--tiny", *map(str, options)])


@pytest.fixture(params=BENCHMARKS)
def written(request, in_process, without_fashion_mnist, tmp_path, capsys):
    """Name, output folder and printed lines of a benchmark that has run, and drawn if it draws."""
    name = request.param
    options, _ = BENCHMARKS[name]
    plot = ["--plot", tmp_path / "docs"] if name in FIGURES else []
    assert not run(name, *options, "--out", tmp_path, *plot)
    return name, tmp_path, capsys.readouterr().out.splitlines()


def test_a_benchmark_prints_a_table_writes_what_it_promises_and_draws_it_again_without_measuring(written):
    name, folder, said = written
    path = folder / f"{name}.json"
    content = json.loads(path.read_text())
    assert content["benchmark"] == name
    assert content["question"].endswith("?")
    assert {"torch", "CPU", "date"} <= content["environment"].keys()
    assert content["options"]["tiny"]
    assert content["rows"]
    for row in content["rows"]:
        assert BENCHMARKS[name][1] <= row.keys()
    assert len(said) > len(content["rows"])
    if name in FIGURES:
        picture = folder / "docs" / FIGURES[name]
        drawn = picture.read_bytes()
        assert drawn.startswith(b"\x89PNG")
        picture.unlink()
        before = path.stat().st_mtime_ns
        run(name, "--out", folder, "--plot", folder / "docs", "--redraw")
        assert picture.read_bytes() == drawn
        assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_cannot_be_drawn_before_anything_was_measured(name, tmp_path):
    with pytest.raises(SystemExit, match=f"{name}.json is not there to draw from; run once without --redraw"):
        run(name, "--out", tmp_path, "--plot", tmp_path, "--redraw")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "wrong", "nearest"),
    [
        ("step", "minst", "mnist"),
        ("scaling", "l", "L"),
        ("time_to_loss", "crossentropy", "cross-entropy"),
        ("lm", "wide300", "wide-300"),
        ("small_tables", "friedman", "friedman1"),
        ("estimators", "friedman", "friedman1"),
        ("block_weights", "fullbatch", "full-batch"),
        ("right_inverses", "generalize", "generalise"),
        ("mini_batch", "adam", "Adam"),
    ],
)
def test_unknown_names_offer_the_nearest(name, wrong, nearest, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(name, wrong)
    assert f"did you mean '{nearest}'?" in capsys.readouterr().err


def test_shapes_that_are_none_are_refused_with_an_example(capsys):
    with pytest.raises(SystemExit, match="2"):
        run("solvers", "--shapes", "1024")
    assert "'1024' is no shape; expected rows x features, as in 1024x8000" in capsys.readouterr().err


def test_the_quick_guard_fails_when_a_step_takes_a_product_more_than_theory_counts(tmp_path, monkeypatch, capsys):
    theory = importlib.import_module("theory")
    assert run("quick", "--pairs", "1", "--out", tmp_path) == 0
    monkeypatch.setattr(theory, "PULL_BACK", theory.PULL_BACK - 1)
    assert run("quick", "--pairs", "1", "--out", tmp_path) == 1
    assert "NOT MET" in capsys.readouterr().out
