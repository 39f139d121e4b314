import json
import os
import random
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from revgn_lab.errors import RunError
from revgn_lab.runs import folders
from revgn_lab.runs.run import run
from revgn_lab.studies import worker
from revgn_lab.studies.outcomes import outcome_of
from revgn_lab.studies.worker import run_batch, run_row
from tiny_run import metrics_in


@contextmanager
def forked(work):
    """The number of a process that does this work: a fork, as a new Python would take seconds to import torch."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if work() else 1)
    yield pid


def test_a_batch_killed_again_and_again_ends_like_an_unbroken_one_and_no_run_is_done_twice(tiny_study, tmp_path):
    folder, rows = tiny_study(overrides={"optimizer.momentum": 0.5, "epochs": 6})
    (batch,) = {row.batch for row in rows}
    moments = random.Random(4)
    complete, kills = {}, 0
    while True:
        with forked(lambda: run_batch(folder, batch)) as pid:
            if kills < 8:
                time.sleep(moments.uniform(0.1, 0.9))
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        for row in rows:
            results = folder / row.folder / folders.RESULTS
            if results.exists():
                # Written anew, the file would have another number.
                assert complete.setdefault(row.folder, results.stat()) == results.stat()
        if status == 0:
            break
        assert status == signal.SIGKILL
        kills += 1
    assert kills >= 2
    assert (folder / "done" / batch).exists()
    for row in rows:
        unbroken = tmp_path / "unbroken" / row.folder
        run(row.config, unbroken, progress=False)
        pd.testing.assert_frame_equal(metrics_in(folder / row.folder), metrics_in(unbroken), check_exact=True)
        assert outcome_of(folder, row).complete


def test_a_run_that_diverges_is_a_result(tiny_study):
    folder, (row,) = tiny_study(optimizers={"SGD": {"optimizer": "SGD", "optimizer.lr": 100.0}}, seeds=[0])
    results = folder / row.folder / folders.RESULTS
    assert run_batch(folder, row.batch)
    outcome = outcome_of(folder, row)
    assert outcome.complete
    assert outcome.diverged.startswith("the loss is ")
    found = metrics_in(folder / row.folder)
    assert json.loads(results.read_text())["final"]["steps"] == found["step"].iloc[-2]
    assert found["step"].tolist() == list(range(len(found)))
    assert found["loss"].iloc[:-1].dropna().max() > 1e3
    assert found.iloc[-1].drop(["step", "epoch"]).isna().all()
    before = results.stat()
    assert run_batch(folder, row.batch)
    assert results.stat() == before


def test_a_run_that_fails_does_not_stop_the_others_and_is_tried_again(tiny_study, caplog):
    folder, (broken, sound) = tiny_study(optimizers={"broken": {"data.rows": 9999}, "GN exact": {}}, seeds=[0])
    assert not run_batch(folder, broken.batch)
    assert not (folder / "done" / broken.batch).exists()
    assert outcome_of(folder, sound).complete
    failed = outcome_of(folder, broken)
    assert not failed.complete
    assert failed.failed.startswith("DataError: rows must be a whole number from 1 to 1438")
    caplog.clear()
    assert not run_batch(folder, broken.batch)
    assert caplog.text.count("failed") == 1
    assert sound.folder not in caplog.text
    with pytest.raises(RunError, match="has no batch 'other'; take one from its column of that name"):
        run_batch(folder, "other")


def test_a_run_that_takes_its_process_down_goes_last_the_next_time(tiny_study, monkeypatch):
    folder, (deadly, sound) = tiny_study(optimizers={"deadly": {"epochs": 2}, "GN exact": {}}, seeds=[0])
    train = worker._train

    def train_or_die(where):
        if where == folder / deadly.folder:
            os.kill(os.getpid(), signal.SIGKILL)
        train(where)

    monkeypatch.setattr(worker, "_train", train_or_die)
    for complete in (False, True):
        with forked(lambda: run_batch(folder, deadly.batch)) as pid:
            assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        assert outcome_of(folder, sound).complete == complete
    assert outcome_of(folder, deadly).failed == "started and not ended: at work still, killed, or out of memory"
    monkeypatch.undo()
    assert run_batch(folder, deadly.batch)
    assert outcome_of(folder, deadly).failed is None


def test_a_folder_that_cannot_be_resumed_starts_over(tiny_study):
    folder, (row, _) = tiny_study(seeds=[0])
    place = folder / row.folder
    run_row(folder, row)
    expected = metrics_in(place)
    (place / folders.RESULTS).unlink()
    (place / folders.CHECKPOINT).write_bytes(b"half a checkpoint")
    assert run_row(folder, row)
    pd.testing.assert_frame_equal(metrics_in(place), expected, check_exact=True)


def test_runs_are_not_done_by_two_processes_at_once(tiny_study):
    folder, (row, _) = tiny_study(seeds=[0], overrides={"epochs": 8})
    logs = folder / row.folder / folders.TENSORBOARD
    with forked(lambda: run_row(folder, row)) as first:
        while not logs.exists():
            time.sleep(0.01)
        assert run_row(folder, row)
        # It had waited for the other one, which has then written everything.
        assert os.waitpid(first, 0)[1] == 0
    assert len(list(logs.glob("events*"))) == 1  # each start of a run adds a file


def test_threads_of_the_worker_are_those_of_its_batch(tiny_study, monkeypatch):
    seen = []
    monkeypatch.setattr(worker.torch, "set_num_threads", seen.append)
    monkeypatch.setattr(worker, "end_with_parent", lambda parent: seen.append(f"watching {parent}"))
    monkeypatch.setattr(worker, "run_batch", lambda folder, batch: (folder, batch) == (Path("a"), "b"))
    assert worker.main(["a", "b", "--threads", "3", "--parent", "77"]) == 0
    assert worker.main(["a", "c"]) == 1
    assert seen == ["watching 77", 3, 1]
