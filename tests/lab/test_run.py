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


def without_times(frame):
    return frame.drop(columns="seconds")


@pytest.mark.parametrize(("optimizer", "lr"), OPTIMIZERS.items(), ids=OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(tiny, tmp_path, optimizer, lr):
    config = tiny("--optimizer", optimizer, f"--optimizer.lr={lr}", batch_size=None, epochs=5)
    metrics = run(config, tmp_path / "run", progress=False).metrics
    loss = metrics["loss"].dropna()
    assert len(loss) == 5
    assert loss.iloc[-1] < 0.8 * loss.iloc[0]
    assert ("defect" in metrics) == (optimizer == "GaussNewton")


def test_the_folder_holds_everything_and_the_table_is_complete(tiny, tmp_path):
    folder = tmp_path / "run"
    metrics = run(tiny(), folder, progress=False).metrics
    assert {path.name for path in folder.iterdir()} == {
        folders.CONFIG,
        folders.METRICS,
        folders.CHECKPOINT,
        folders.RESULTS,
        folders.TENSORBOARD,
    }
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


def test_tensorboard_shows_the_same_numbers(tiny, tmp_path):
    metrics = run(tiny(), tmp_path, progress=False).metrics
    events = EventAccumulator(str(tmp_path / folders.TENSORBOARD)).Reload()
    shown = {event.step: event.value for event in events.Scalars("loss")}
    assert list(shown) == list(range(1, 13))
    assert list(shown.values()) == pytest.approx(metrics["loss"].dropna().tolist())


def test_one_seed_gives_one_result_and_another_seed_another(tiny, tmp_path):
    first, again, other = (
        run(tiny(seed=seed), tmp_path / name, progress=False).metrics for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    pd.testing.assert_frame_equal(without_times(first), without_times(again), check_exact=True)
    assert not without_times(first).equals(without_times(other))


def test_a_full_batch_is_one_step_an_epoch_and_after_a_step_comes_the_next(tiny, tmp_path):
    metrics = run(tiny(batch_size=None, epochs=4), tmp_path, progress=False).metrics
    assert metrics["epoch"].tolist() == metrics["step"].tolist() == [0, 1, 2, 3, 4]
    assert metrics["loss_after"].iloc[1:4].tolist() == pytest.approx(metrics["loss"].iloc[2:].tolist(), rel=1e-4)


def test_evaluation_and_checkpoints_come_every_few_epochs_and_at_the_end(tiny, tmp_path):
    metrics = run(
        tiny(batch_size=None, epochs=5, evaluate_every=2, checkpoint_every=3), tmp_path, progress=False
    ).metrics
    assert metrics.loc[metrics["test_loss"].notna(), "step"].tolist() == [0, 2, 4, 5]
    assert torch.load(tmp_path / folders.CHECKPOINT, weights_only=True)["progress"]["steps"] == 5


def test_the_loss_after_a_step_can_be_left_out(tiny, tmp_path):
    metrics = run(tiny(loss_after_step=False), tmp_path, progress=False).metrics
    assert "loss_after" not in metrics
    assert "loss_change" not in metrics


@pytest.mark.parametrize(
    ("by", "expected"), [("epoch", 4 * [0.5] + 4 * [0.25]), ("step", [0.5 * 0.5**k for k in range(8)])]
)
def test_a_scheduler_counts_epochs_or_steps(tiny, tmp_path, by, expected):
    scheduler = {"class_path": "ExponentialLR", "init_args": {"gamma": 0.5}}
    metrics = run(tiny(scheduler=scheduler, schedule_by=by, epochs=2), tmp_path, progress=False).metrics
    assert metrics["lr"].dropna().tolist() == expected


def test_float64_reaches_what_float32_cannot(tiny, tmp_path):
    config = tiny("--optimizer.lr=1", "--model.state_features=128", dtype="float64", batch_size=None, epochs=8)
    metrics = run(config, tmp_path, progress=False).metrics
    assert metrics["loss"].min() < 1e-20


def test_the_theoretical_step_trains_in_float64_to_rounding(tiny, tmp_path):
    words = ("--optimizer", "DenseGaussNewton", "--data.rows=10", "--model.hidden_features=30", "--dtype=float64")
    metrics = run(tiny(*words, batch_size=None, epochs=8), tmp_path, progress=False).metrics
    assert metrics["exact"].dropna().eq(1).all()
    assert metrics["loss_after"].iloc[-1] < 1e-20


def test_regression_on_a_table_of_the_users_own(tiny, tmp_path):
    x = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    frame = pd.DataFrame(x.numpy(), columns=list("abcd"))
    frame["y"] = (x @ torch.tensor([1.0, -2.0, 0.5, 0.0])).numpy()
    frame.to_csv(tmp_path / "table.csv", index=False)
    data = {"name_or_path": str(tmp_path / "table.csv"), "target": "y"}
    config = tiny("--optimizer", "Adam", "--optimizer.lr=0.02", data=data, loss="revgn.losses.MSELoss", epochs=20)
    metrics = run(config, tmp_path / "run", progress=False).metrics
    assert metrics["test_r2"].iloc[-1] > 0.5
    assert "test_accuracy" not in metrics
    with pytest.raises(ValueError, match="quantities, not classes, as targets; use --loss MSELoss"):
        run(tiny(data=data, loss="CrossEntropyLoss"), tmp_path / "other", progress=False)


def test_a_folder_that_holds_a_run_is_left_alone(tiny, tmp_path):
    run(tiny(), tmp_path / "run", progress=False)
    before = (tmp_path / "run" / folders.METRICS).read_text()
    with pytest.raises(RunError, match="holds a run already; go on with --resume, or start over with --overwrite"):
        run(tiny(), tmp_path / "run", progress=False)
    with pytest.raises(RunError, match=r"other settings \(seed was 0, now 1\); give the same ones"):
        run(tiny(seed=1), tmp_path / "run", progress=False, resume=True)
    assert (tmp_path / "run" / folders.METRICS).read_text() == before


def test_a_folder_that_holds_something_else_is_left_alone(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="holds files but no run; name another folder with --out"):
        run(tiny(), tmp_path, progress=False)
    with pytest.raises(RunError, match="holds files but no run"):
        run(tiny(), tmp_path, progress=False, overwrite=True)


def test_overwriting_replaces_a_run_and_nothing_else(tiny, tmp_path):
    run(tiny(), tmp_path, progress=False)
    (tmp_path / "notes.txt").write_text("mine")
    metrics = run(tiny(seed=1, epochs=1), tmp_path, progress=False, overwrite=True).metrics
    assert len(pd.read_csv(tmp_path / folders.METRICS)) == len(metrics) == 5
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(list((tmp_path / folders.TENSORBOARD).glob("events*"))) == 1


@pytest.mark.parametrize("removed", range(4))
def test_overwriting_that_was_killed_while_it_removed_can_be_repeated(removed, tiny, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    unlink, count = Path.unlink, itertools.count()

    def unlink_until_killed(path, missing_ok=False):
        if next(count) == removed:
            raise Killed
        unlink(path, missing_ok=missing_ok)

    run(tiny(), tmp_path, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_until_killed)
        with pytest.raises(Killed):
            folders.claim(tmp_path, tiny(seed=1), resume=False, overwrite=True)
    expected = {0: folders.State.COMPLETE, 3: folders.State.PREPARED}.get(removed, folders.State.STARTED)
    assert folders.state_of(tmp_path) is expected
    metrics = run(tiny(seed=1), tmp_path, progress=False, overwrite=True).metrics
    pd.testing.assert_frame_equal(metrics, pd.read_csv(tmp_path / folders.METRICS), check_dtype=False)


def test_a_complete_run_is_not_run_again(tiny, tmp_path):
    metrics = run(tiny(), tmp_path, progress=False).metrics
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
