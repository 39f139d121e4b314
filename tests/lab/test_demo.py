import errno
import os
import re
from dataclasses import replace

import pandas as pd
import pytest
import torch

from revgn_lab import demo as demo_module
from revgn_lab.demo import PLANS, Plan, Setting, demo, find_plan, run_config
from revgn_lab.errors import ConfigError

RATES = {"GaussNewton": 0.5, "Adam": 1e-2, "SGD": 0.05}
TINY = Plan(
    hidden_features=150,
    settings=(Setting("full batch", 60, None, 3, 1, RATES), Setting("mini-batches", 80, 40, 2, 1, RATES)),
)
SMALLEST = Plan(hidden_features=150, settings=TINY.settings[:1])
SEEDS = (1, 2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(demo_module.PLANS, "digits", TINY)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished demo; tests only read it."""
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(demo_module.PLANS, "digits", TINY)
        assert demo("digits", out, SEEDS, progress=False) == out / "index.html"
    return out


def without_date(html):
    return re.sub(r"<dt>date</dt><dd>[^<]*</dd>", "", html)


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_demo_leaves_what_a_study_leaves(finished):
    files = {path.name for path in finished.iterdir()}
    assert files == {"index.html", "metrics.csv", "claims.json", "runs.tsv", "runs", "figures"}
    shown = ("training-loss-by-step", "training-loss-by-seconds", "test-accuracy", "loss-change", "defect")
    names = {path.name for path in (finished / "figures").iterdir()}
    assert names == {f"{name}.{end}" for name in ("overview", *map("demo-{}".format, shown)) for end in ("png", "pdf")}


def test_metrics_hold_every_step_of_every_run(finished):
    steps = pd.read_csv(finished / "metrics.csv").groupby(["setting", "optimizer", "seed"])["step"].max()
    assert len(steps) == 2 * 3 * 2
    assert set(steps["full batch"]) == {3}
    assert set(steps["mini-batches"]) == {4}


def test_optimizers_start_from_the_same_loss(finished):
    frame = pd.read_csv(finished / "metrics.csv")
    first = frame[(frame["step"] == 1) & (frame["setting"] == "full batch")].groupby("seed")["loss"]
    assert (first.max() - first.min()).abs().max() < 1e-5
    assert first.mean().nunique() == 2  # and from another one with every seed


def test_gauss_newton_steps_of_the_demo_are_exact(finished):
    frame = pd.read_csv(finished / "metrics.csv")
    exact = frame.loc[(frame["optimizer"] == "GaussNewton") & (frame["step"] > 0), "exact"]
    assert exact.astype(float).eq(1).all()


def test_page_names_settings_and_how_to_repeat(finished):
    html = (finished / "index.html").read_text(encoding="utf-8")
    for text in ("<td>0.05</td>", "<td>1, 2</td>", "revgn demo --dataset digits --seeds 1 2 --out", "full batch:"):
        assert text in html


def test_repeated_demo_trains_nothing_and_writes_the_same(finished):
    before, html = stamps(finished / "runs"), (finished / "index.html").read_text(encoding="utf-8")
    demo("digits", finished, SEEDS, progress=False)
    assert stamps(finished / "runs") == before
    assert without_date((finished / "index.html").read_text(encoding="utf-8")) == without_date(html)


def test_interrupted_demo_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setitem(demo_module.PLANS, "digits", SMALLEST)
    trained = []

    def interrupted(config, folder, **options):
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(folder.name)
        return run(config, folder, **options)

    run = demo_module.run
    monkeypatch.setattr(demo_module, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo("digits", tmp_path, (1,), progress=False)
    assert not (tmp_path / "index.html").exists()
    before = stamps(tmp_path / "runs")
    monkeypatch.setattr(demo_module, "run", run)
    assert demo("digits", tmp_path, (1,), progress=False).exists()
    after = stamps(tmp_path / "runs")
    assert before == {path: after[path] for path in before}
    assert len(list((tmp_path / "runs" / "digits").iterdir())) == 3


def test_runs_of_other_settings_are_replaced(tmp_path, monkeypatch):
    monkeypatch.setitem(demo_module.PLANS, "digits", SMALLEST)
    demo("digits", tmp_path, (1,), progress=False)
    shorter = Plan(150, (replace(SMALLEST.settings[0], epochs=1),))
    monkeypatch.setitem(demo_module.PLANS, "digits", shorter)
    demo("digits", tmp_path, (1,), progress=False)
    assert pd.read_csv(tmp_path / "metrics.csv")["epoch"].max() == 1


def test_diverged_run_is_shown_and_not_an_error(tmp_path, monkeypatch):
    wild = Plan(150, (replace(SMALLEST.settings[0], learning_rates={"Adam": 1e-2, "SGD": 1e12}),))
    monkeypatch.setitem(demo_module.PLANS, "digits", wild)
    html = demo("digits", tmp_path, (1,), progress=False).read_text(encoding="utf-8")
    assert "Ended without a finite loss: 1 run of SGD." in html


def test_full_disk_leaves_the_old_page(finished, monkeypatch):
    before = stamps(finished)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        demo("digits", finished, SEEDS, progress=False)
    assert stamps(finished) == before


def test_folder_that_is_a_file_is_an_os_error(tmp_path):
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="out"):
        demo("digits", tmp_path / "out", SEEDS, progress=False)


def test_unknown_dataset_is_told_with_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match="unknown dataset 'digit'; did you mean 'digits'"):
        demo("digit", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_seed_given_twice_counts_once(finished):
    html = demo("digits", finished, (1, 2, 1), progress=False).read_text(encoding="utf-8")
    assert "<td>1, 2</td>" in html


def test_demo_needs_a_seed(tmp_path):
    with pytest.raises(ConfigError, match="no seeds given"):
        demo("digits", tmp_path, ())


@pytest.mark.parametrize("dataset", PLANS)
def test_plans_compare_the_same_optimizers_on_networks_wide_enough_to_be_exact(dataset, monkeypatch):
    monkeypatch.undo()
    plan = find_plan(dataset)
    for setting in plan.settings:
        assert list(setting.learning_rates) == ["GaussNewton", "Adam", "SGD"]
        assert plan.hidden_features > (setting.batch_size or setting.rows)
        for name in setting.learning_rates:
            config = run_config(dataset, plan, setting, name, seed=3)
            assert config.training.seed == 3
            assert config.training.device == "cpu"


def test_demo_leaves_global_random_numbers_alone(finished):
    state = torch.get_rng_state()
    demo("digits", finished, SEEDS, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
