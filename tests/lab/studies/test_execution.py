import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from revgn_lab.errors import RunError
from revgn_lab.runs import folders
from revgn_lab.runs.run import run
from revgn_lab.studies import execution
from revgn_lab.studies.execution import Machine, execute
from revgn_lab.studies.expansion import expand
from revgn_lab.studies.locks import study_lock
from revgn_lab.studies.outcomes import mark_done
from revgn_lab.studies.rows import read_rows
from revgn_lab.studies.worker import run_row
from subprocesses import SUBPROCESS
from tiny_run import metrics_in

OPTIMIZERS = {
    "GN exact": {"optimizer.momentum": 0.5},
    "wild SGD": {"optimizer": "SGD", "optimizer.lr": 100.0},
    "broken": {"data.rows": 9999},
}


def profile_in(folder, settings):
    (folder / "profile").mkdir()
    (folder / "profile" / "config.yaml").write_text(settings)
    return folder / "profile"


def results_in(folder):
    return {path: path.stat() for path in folder.glob(f"runs/*/{folders.RESULTS}")}


@pytest.mark.nightly
def test_a_killed_study_is_picked_up_by_the_same_command_to_the_end_that_an_unbroken_one_reaches(define, tmp_path):
    """The whole chain: the command, snakemake, a worker. The command alone is killed; the others must end with it."""
    path, folder = define(optimizers=OPTIMIZERS, seeds=[0], share=3, overrides={"epochs": 30}), tmp_path / "study"
    profile = profile_in(tmp_path, "cores: 1\n")
    rows = {row.optimizer: row for row in expand(path, "smoke")}

    words = [sys.executable, "-W", "ignore", "-m", "revgn_lab.cli", "study", path, "--out", folder, "--jobs=1"]
    killed = subprocess.Popen(words, env=SUBPROCESS)
    while not (folder / rows["GN exact"].folder / folders.CHECKPOINT).exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    before = results_in(folder)

    outcomes = execute(list(rows.values()), folder, Machine(profile=profile))
    assert [outcome.complete for outcome in outcomes] == [True, True, False]
    assert outcomes[1].diverged
    assert outcomes[2].failed.startswith("DataError: rows must be a whole number")
    after = results_in(folder)
    assert before.items() <= after.items()
    assert len(after) == 2
    log = next(folder.glob("logs/*.log")).read_text()
    assert log.count(f"{rows['broken'].folder} failed") in (2, 3)  # once before the kill, perhaps, and twice after it
    for name in ("GN exact", "wild SGD"):
        assert log.count(f"{rows[name].folder} ended") == 1
    run(rows["GN exact"].config, tmp_path / "unbroken", progress=False)
    found = metrics_in(folder / rows["GN exact"].folder)
    pd.testing.assert_frame_equal(found, metrics_in(tmp_path / "unbroken"), check_exact=True)


@pytest.fixture
def snakemake(monkeypatch):
    """In place of snakemake, the batches that it was to make are run right here; they are listed."""
    made = []

    def make(folder, pending, machine, *, total):
        made.append([row.folder for row in pending])
        for row in pending:
            assert run_row(folder, row)
            mark_done(folder, row.batch)
        return 0

    monkeypatch.setattr(execution, "_snakemake", make)
    return made


def test_only_what_is_not_complete_is_run(define, tmp_path, snakemake):
    rows = expand(define(), "smoke")
    outcomes = execute(rows, tmp_path / "study", Machine())
    assert [outcome.row for outcome in outcomes] == rows
    assert all(outcome.complete for outcome in outcomes)
    execute(rows, tmp_path / "study", Machine())
    (tmp_path / "study" / rows[1].folder / folders.RESULTS).unlink()
    assert all(outcome.complete for outcome in execute(rows, tmp_path / "study", Machine()))
    assert snakemake == [[row.folder for row in rows], [rows[1].folder]]


def test_another_study_in_the_folder_joins_the_table_and_a_changed_one_replaces_its_rows(define, tmp_path, snakemake):
    first, second = (expand(define(name, seeds=seeds), "smoke") for name, seeds in (("a", [0, 1]), ("b", [1, 2])))
    execute(first, tmp_path / "study", Machine())
    assert len(execute(second, tmp_path / "study", Machine())) == 6
    assert snakemake[1] == [row.folder for row in second if row.seed == 2]  # they share the others
    table = read_rows(tmp_path / "study")
    assert [(row.study, row.seed) for row in table[:4]] == [("a", 0), ("a", 1)] * 2
    assert len({row.batch for row in table if row.folder == second[0].folder}) == 1
    changed = expand(define("a", seeds=[0]), "smoke")
    assert len(execute(changed, tmp_path / "study", Machine())) == 6
    assert [row.seed for row in read_rows(tmp_path / "study") if row.study == "a"] == [0, 0]


def test_a_folder_where_a_study_is_at_work_is_left_alone(define, tmp_path, snakemake):
    with study_lock(tmp_path / "study"), pytest.raises(RunError, match="another study is at work in"):
        execute(expand(define(), "smoke"), tmp_path / "study", Machine())
    assert not snakemake
    assert not read_rows(tmp_path / "study")


def test_a_snakemake_that_cannot_work_is_reported_with_its_last_words(define, tmp_path):
    machine = Machine(profile=profile_in(tmp_path, "executor: no-such-cluster\njobs: 1\n"))
    with pytest.raises(RunError, match=r"snakemake ended with status \d+: .*no-such-cluster.*; see .*snakemake.log"):
        execute(expand(define(), "smoke"), tmp_path / "study", machine)


def test_an_interrupt_ends_everything_that_was_started(define, tmp_path, monkeypatch):
    started = []

    def interrupted(process, *_, **__):
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "_follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(expand(define(), "smoke"), tmp_path / "study", Machine(1))
    (process,) = started
    assert process.poll() is not None
    with pytest.raises(ProcessLookupError):  # its session, in which the workers would be, is empty
        os.killpg(process.pid, signal.SIGCONT)


def test_a_machine_that_cannot_be_or_has_no_snakemake_is_refused(define, tmp_path, monkeypatch):
    with pytest.raises(RunError, match="jobs must be at least 1, got 0"):
        Machine(jobs=0)
    with pytest.raises(RunError, match="missing is no folder; --profile takes that of a snakemake"):
        Machine(profile=tmp_path / "missing")
    monkeypatch.setattr(execution, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"snakemake is not installed, .*; pip install 'revgn\[study\]'"):
        execute(expand(define(), "smoke"), tmp_path, Machine())


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["run #1", "a: b", "{x}", 'it\'s "x" $HOME'])
def test_a_folder_may_have_any_name(define, tmp_path, name):
    rows = expand(define(seeds=[0], optimizers={"GN": {}}), "smoke")
    assert all(outcome.complete for outcome in execute(rows, tmp_path / name, Machine(1)))
