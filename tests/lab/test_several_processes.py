"""`revgn train --ranks`: runs of several processes, which are those of one."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from revgn_lab.errors import ConfigError
from revgn_lab.runs.build import build_data, build_loss, build_module
from revgn_lab.runs.several_processes import launch
from revgn_lab.runs.training.checkpoints import read_checkpoint
from revgn_lab.settings.parsing import parse
from subprocesses import SUBPROCESS
from tiny_run import TINY

SETTINGS = ["--dtype=float64", "--epochs=6", "--batch_size=100", "--optimizer.momentum=0.5", "--optimizer.lr=0.3"]


def command(folder, *words):
    return [
        sys.executable,
        "-m",
        "revgn_lab.cli",
        "train",
        "digits",
        *SETTINGS,
        "--data.rows=300",
        f"--out={folder}",
        *words,
    ]


def assert_same_end(folder, other):
    first, second = (pd.read_csv(each / "metrics.csv").drop(columns="seconds") for each in (folder, other))
    pd.testing.assert_frame_equal(first, second, rtol=1e-6, atol=1e-9)


@pytest.mark.nightly
def test_a_run_of_two_processes_is_that_of_one_and_goes_on_in_one_when_it_was_killed(tmp_path):
    one, two, killed = (tmp_path / name for name in ("one", "two", "killed"))
    subprocess.run(command(one), env=SUBPROCESS, check=True)
    subprocess.run(command(two, "--ranks=2"), env=SUBPROCESS, check=True)
    assert_same_end(one, two)
    with subprocess.Popen(command(killed, "--ranks=2"), env=SUBPROCESS, start_new_session=True) as process:
        while not (killed / "checkpoint.ckpt").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (killed / "results.json").exists()
    subprocess.run(command(killed, "--resume"), env=SUBPROCESS, check=True)
    assert_same_end(one, killed)


@pytest.mark.nightly
def test_processes_of_which_one_dies_end_with_words_and_a_whole_checkpoint(tmp_path):
    died = command(tmp_path / "run", "--ranks=2", "--epochs=2000")
    with subprocess.Popen(died, env=SUBPROCESS, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "run/checkpoint.ckpt").exists():
            time.sleep(0.05)
        workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        os.kill(int(workers.stdout.split()[-1]), signal.SIGKILL)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "process 1 of 2" in told or "cannot reach the others" in told
    assert read_checkpoint(tmp_path / "run/checkpoint.ckpt")["progress"]["steps"] > 0


def test_only_gauss_newton_is_spread():
    config = parse(TINY | {"optimizer": "Adam"})
    dataset, loss = build_data(config), build_loss(config)
    with pytest.raises(ConfigError, match="--ranks spreads the steps of GaussNewton over processes; Adam runs in one"):
        build_module(config, dataset, loss, group=object())


def test_a_number_of_processes_below_one_is_refused():
    with pytest.raises(ConfigError, match="--ranks is the number of processes, at least 1; got 0"):
        launch(["train", "digits"], 0)
