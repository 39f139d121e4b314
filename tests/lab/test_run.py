import itertools
import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from revgn_lab.errors import RunError
from revgn_lab.runs import folders
from revgn_lab.runs.run import run

OPTIMIZERS = {"GaussNewton": 0.5, "SGD": 0.1, "Adam": 0.003, "AdamW": 0.003, "Muon": 0.02, "LBFGS": 0.5}


@pytest.mark.parametrize(("optimizer", "lr"), OPTIMIZERS.items(), ids=OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(trained, optimizer, lr):
    metrics = trained("--optimizer", optimizer, f"--optimizer.lr={lr}", batch_size=None, epochs=5)
    loss = metrics["loss"].dropna()
    assert len(loss) == 5
    assert loss.iloc[-1] < 0.8 * loss.iloc[0]
    assert ("defect" in metrics) == (optimizer == "GaussNewton")


def test_the_folder_holds_everything_and_the_table_is_complete(trained, tmp_path):
    folder, metrics = tmp_path / "run", trained(folder="run")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        (folders.CONFIG, folders.METRICS, folders.CHECKPOINT, folders.RESULTS, folders.TENSORBOARD)
    )
    pd.testing.assert_frame_equal(pd.read_csv(folder / folders.METRICS), metrics, check_dtype=False)
    assert metrics["step"].tolist() == list(range(13))
    assert metrics["epoch"].tolist() == [0] + 4 * [1] + 4 * [2] + 4 * [3]
    assert metrics["test_accuracy"].notna().tolist() == [step % 4 == 0 for step in range(13)]
    steps = metrics.iloc[1:]
    assert steps[["loss", "loss_after", "loss_change", "defect", "exact", "accuracy", "lr"]].notna().all(axis=None)
    assert (steps["loss_change"] - 100 * (steps["loss_after"] / steps["loss"] - 1)).abs().max() < 1e-9
    assert steps["seconds"].is_monotonic_increasing
    assert steps["exact"].eq(1).all()
    results = json.loads((folder / folders.RESULTS).read_text())
    assert results["final"]["test_accuracy"] == metrics["test_accuracy"].iloc[-1]
    assert results["environment"]["torch"] == torch.__version__
    shown = EventAccumulator(str(folder / folders.TENSORBOARD)).Reload().Scalars("loss")
    assert [event.step for event in shown] == list(range(1, 13))
    assert [event.value for event in shown] == pytest.approx(steps["loss"].tolist())


def test_one_seed_gives_one_result_and_another_seed_another(trained):
    runs = [trained(seed=seed, folder=name) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    first, again, other = (metrics.drop(columns="seconds") for metrics in runs)
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert not first.equals(other)


def test_a_full_batch_is_one_step_an_epoch_and_after_a_step_comes_the_next(trained):
    metrics = trained(batch_size=None, epochs=4)
    assert metrics["epoch"].tolist() == metrics["step"].tolist() == [0, 1, 2, 3, 4]
    assert metrics["loss_after"].iloc[1:4].tolist() == pytest.approx(metrics["loss"].iloc[2:].tolist(), rel=1e-4)


def test_evaluation_and_checkpoints_come_every_few_epochs_and_at_the_end(trained, tmp_path):
    metrics = trained(batch_size=None, epochs=5, evaluate_every=2, checkpoint_every=3)
    assert metrics.loc[metrics["test_loss"].notna(), "step"].tolist() == [0, 2, 4, 5]
    assert torch.load(tmp_path / folders.CHECKPOINT, weights_only=True)["progress"]["steps"] == 5


def test_the_loss_after_a_step_can_be_left_out(trained):
    assert not {"loss_after", "loss_change"} & set(trained(loss_after_step=False))


@pytest.mark.parametrize(
    ("by", "expected"), [("epoch", 4 * [0.5] + 4 * [0.25]), ("step", [0.5 * 0.5**k for k in range(8)])]
)
def test_a_scheduler_counts_epochs_or_steps(trained, by, expected):
    scheduler = {"class_path": "ExponentialLR", "init_args": {"gamma": 0.5}}
    metrics = trained(scheduler=scheduler, schedule_by=by, epochs=2)
    assert metrics["lr"].dropna().tolist() == expected


@pytest.mark.parametrize(
    "words",
    [
        ("--optimizer.lr=1", "--model.state_features=128"),
        ("--optimizer", "DenseGaussNewton", "--data.rows=10", "--model.hidden_features=30"),
    ],
    ids=["practical", "theoretical"],
)
def test_exact_steps_train_in_float64_to_what_float32_cannot_reach(trained, words):
    metrics = trained(*words, dtype="float64", batch_size=None, epochs=8)
    assert metrics["exact"].dropna().eq(1).all()
    assert metrics["loss_after"].min() < 1e-20


def test_regression_on_a_table_of_the_users_own(trained, tmp_path):
    x = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    frame = pd.DataFrame(x.numpy(), columns=list("abcd"))
    frame["y"] = (x @ torch.tensor([1.0, -2.0, 0.5, 0.0])).numpy()
    frame.to_csv(tmp_path / "table.csv", index=False)
    data = {"name_or_path": str(tmp_path / "table.csv"), "target": "y"}
    words = ("--optimizer", "Adam", "--optimizer.lr=0.02", "--loss=revgn.losses.MSELoss")
    metrics = trained(*words, data=data, epochs=20, folder="run")
    assert metrics["test_r2"].iloc[-1] > 0.5
    assert "test_accuracy" not in metrics
    with pytest.raises(ValueError, match="quantities, not classes, as targets; use --loss MSELoss"):
        trained(data=data, loss="CrossEntropyLoss", folder="other")


def test_a_folder_that_holds_a_run_or_something_else_is_left_alone(tiny, tmp_path):
    def refused(name, message, seed=0, **options):
        with pytest.raises(RunError, match=message):
            run(tiny(seed=seed), tmp_path / name, progress=False, **options)

    run(tiny(), tmp_path / "run", progress=False)
    before = (tmp_path / "run" / folders.METRICS).read_text()
    refused("run", "holds a run already; go on with --resume, or start over with --overwrite")
    refused("run", r"other settings \(seed was 0, now 1\); give the same ones", seed=1, resume=True)
    assert (tmp_path / "run" / folders.METRICS).read_text() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    refused("mine", "holds files but no run; name another folder with --out")
    refused("mine", "holds files but no run", overwrite=True)


def test_overwriting_replaces_a_run_and_nothing_else(tiny, trained, tmp_path):
    trained()
    (tmp_path / "notes.txt").write_text("mine")
    metrics = run(tiny(seed=1, epochs=1), tmp_path, progress=False, overwrite=True).metrics
    assert len(pd.read_csv(tmp_path / folders.METRICS)) == len(metrics) == 5
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(list((tmp_path / folders.TENSORBOARD).glob("events*"))) == 1


@pytest.mark.parametrize("removed", range(4))
def test_overwriting_that_was_killed_while_it_removed_can_be_repeated(removed, tiny, trained, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    unlink, count = Path.unlink, itertools.count()

    def unlink_until_killed(path, missing_ok=False):
        if next(count) == removed:
            raise Killed
        unlink(path, missing_ok=missing_ok)

    trained()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_until_killed)
        with pytest.raises(Killed):
            folders.claim(tmp_path, tiny(seed=1), resume=False, overwrite=True)
    expected = {0: folders.State.COMPLETE, 3: folders.State.PREPARED}.get(removed, folders.State.STARTED)
    assert folders.state_of(tmp_path) is expected
    metrics = run(tiny(seed=1), tmp_path, progress=False, overwrite=True).metrics
    pd.testing.assert_frame_equal(metrics, pd.read_csv(tmp_path / folders.METRICS), check_dtype=False)


def test_a_complete_run_is_not_run_again(tiny, trained, tmp_path):
    metrics = trained()
    written = (tmp_path / folders.CHECKPOINT).stat().st_mtime_ns
    again = run(tiny(), tmp_path, progress=False, resume=True).metrics
    pd.testing.assert_frame_equal(metrics, again, check_dtype=False)
    assert (tmp_path / folders.CHECKPOINT).stat().st_mtime_ns == written


@pytest.mark.parametrize("optimizer", ["GaussNewton", "SGD"])
def test_a_diverging_run_stops_with_advice_and_keeps_its_metrics(tiny, tmp_path, optimizer):
    config = tiny("--optimizer", optimizer, "--optimizer.lr=100", epochs=30)
    result = run(config, tmp_path, progress=False)
    assert "lower the learning rate" in result.diverged
    *_, last, empty = result.metrics["loss"]
    assert last > 1e3 * result.metrics["loss"].iloc[1]
    assert math.isnan(empty)
    again = run(config, tmp_path, progress=False, resume=True)
    assert again.diverged == result.diverged
    pd.testing.assert_frame_equal(again.metrics, result.metrics, check_dtype=False)
