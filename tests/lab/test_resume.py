import os
import signal
import subprocess
import sys
import textwrap

import pandas as pd
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from revgn_lab.errors import RunError
from revgn_lab.runs import folders
from revgn_lab.runs.run import run
from revgn_lab.runs.training.checkpoints import AtomicCheckpointIO
from revgn_lab.runs.training.training_module import TrainingModule
from subprocesses import SUBPROCESS
from tiny_run import metrics_in

KILLED_CASES = {
    "GaussNewton with momentum, diagnosed": ("--optimizer.lr=0.3", "--optimizer.momentum=0.5", "--probe_rows=8",
                                             "--diagnostics=[ntk, cka, weights, exactness]"),
    "Adam": ("--optimizer", "Adam", "--optimizer.lr=0.003"),
}  # fmt: skip
STOPPED_CASES = {
    "Muon and AdamW": ("--optimizer", "Muon", "--optimizer.lr=0.02"),
    "LBFGS": ("--optimizer", "LBFGS", "--optimizer.lr=0.1", "--optimizer.max_iter=3"),
    "Adam, then GaussNewton": ("--optimizer", "Adam", "--second_optimizer", "GaussNewton", "--switch_after=1"),
    "GaussNewton with momentum, then Adam": ("--optimizer.momentum=0.5", "--second_optimizer", "Adam",
                                             "--switch_after=2"),
    "Adam, its kernel estimated": ("--optimizer", "Adam", "--diagnostics=[ntk, cka]", "--probe_rows=65",
                                   "--diagnose_every=2"),
    "a control that remembers": ("--optimizer.control", "TrustRegion"),
    "SGD with a schedule": ("--optimizer", "SGD", "--optimizer.momentum=0.9", "--scheduler", "CosineAnnealingLR",
                            "--scheduler.T_max=3"),
}  # fmt: skip

KILLED = """
    import os, signal, sys
    from revgn_lab.cli import main
    from revgn_lab.runs.training.training_module import TrainingModule

    step = TrainingModule.training_step

    def step_or_die(self, batch, batch_idx):
        step(self, batch, batch_idx)
        if self.steps == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)

    TrainingModule.training_step = step_or_die
    main(sys.argv[2:])
"""
FULL_DISK = """
    import resource, sys
    from revgn_lab.cli import main

    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
    sys.exit(main(sys.argv[2:]))
"""


def train_by(code, number, config, folder, *words):
    """The command in a process of its own, by code that takes a number."""
    settings = folder.parent / "settings.yaml"
    settings.write_text(yaml.safe_dump(config.as_dict()))
    command = ["train", settings, "--out", folder, *words]
    python = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    return subprocess.run([*python, *map(str, (number, *command))], capture_output=True, text=True, env=SUBPROCESS)


def kill_at_step(config, folder, step):
    """Run in a process that dies by SIGKILL right after this step."""
    assert train_by(KILLED, step, config, folder).returncode == -signal.SIGKILL


class Stop(Exception):
    """Ends a run from within, which is quicker than a process of its own."""


def stop_at_step(config, folder, step):
    def step_or_stop(module, batch, batch_idx):
        training_step(module, batch, batch_idx)
        if module.steps == step:
            raise Stop

    training_step = TrainingModule.training_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", step_or_stop)
        with pytest.raises(Stop):
            run(config, folder, progress=False)


def weights(folder):
    return torch.load(folder / folders.CHECKPOINT, weights_only=True)["state_dict"]


@pytest.mark.parametrize("overrides", KILLED_CASES.values(), ids=KILLED_CASES)
def test_a_run_killed_in_mid_epoch_and_resumed_ends_bit_for_bit_like_one_never_killed(tiny, tmp_path, overrides):
    check_resumption(tiny(*overrides), tmp_path, kill_at_step)


@pytest.mark.parametrize("overrides", STOPPED_CASES.values(), ids=STOPPED_CASES)
def test_every_kind_of_optimizer_resumes_bit_for_bit(tiny, tmp_path, overrides):
    check_resumption(tiny(*overrides), tmp_path, stop_at_step)


def check_resumption(config, tmp_path, end_at_step):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(config, whole, progress=False)
    end_at_step(config, broken, 6)  # the second step of the second epoch
    assert metrics_in(broken)["step"].iloc[-1] == 4
    run(config, broken, resume=True, progress=False)

    expected, got = weights(whole), weights(broken)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    pd.testing.assert_frame_equal(metrics_in(whole), metrics_in(broken), check_exact=True)
    assert pd.read_csv(broken / folders.METRICS)["seconds"].is_monotonic_increasing


def test_tensorboard_shows_no_step_of_a_resumed_run_twice(tiny, tmp_path):
    folder = tmp_path / "run"
    stop_at_step(tiny(), folder, 6)
    run(tiny(), folder, resume=True, progress=False)
    shown = EventAccumulator(str(folder / folders.TENSORBOARD)).Reload().Scalars("loss")
    assert [event.step for event in shown] == list(range(1, 13))


def test_a_run_killed_before_its_first_checkpoint_starts_again(tiny, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(tiny(), whole, resume=True, progress=False)  # there is nothing to resume: it begins
    stop_at_step(tiny(), broken, 2)
    assert not (broken / folders.CHECKPOINT).exists()
    run(tiny(), broken, resume=True, progress=False)
    pd.testing.assert_frame_equal(metrics_in(whole), metrics_in(broken), check_exact=True)


DAMAGE = {
    "empty": lambda content: b"",
    "cut short": lambda content: content[: len(content) // 2],
    "overwritten": lambda content: content[:1000] + bytes(2000) + content[3000:],
    "words": lambda content: b"these are words and no weights",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_reported_in_one_line_and_left_as_it_is(tiny, tmp_path, damage):
    folder = tmp_path / "run"
    stop_at_step(tiny(), folder, 6)
    checkpoint = folder / folders.CHECKPOINT
    damaged = damage(checkpoint.read_bytes())
    checkpoint.write_bytes(damaged)
    with pytest.raises(RunError, match=r"is not a whole checkpoint of a run .* start over with --overwrite") as raised:
        run(tiny(), folder, resume=True, progress=False)
    assert "\n" not in str(raised.value)
    assert checkpoint.read_bytes() == damaged


def test_a_checkpoint_of_something_else_or_one_that_would_run_code_is_refused(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "other.ckpt"
    for content, message in (
        ({"weights": torch.ones(2)}, "it holds something else"),
        ({"progress": Malicious()}, "is not a whole checkpoint"),
    ):
        torch.save(content, path)
        with pytest.raises(RunError, match=message):
            AtomicCheckpointIO().load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def train_on_a_full_disk(limit, config, folder, *words):
    """With no file allowed to grow beyond `limit` bytes; it must say so in one line and leave nothing half written."""
    done = train_by(FULL_DISK, limit, config, folder, *words)
    assert done.returncode == 1
    assert done.stderr.startswith("revgn: error: ")
    assert "File too large; free some space" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(folder.glob(".*"))


def test_a_disk_too_full_for_the_first_logs_is_reported_in_one_line(tiny, tmp_path):
    train_on_a_full_disk(1500, tiny(), tmp_path / "run")
    run(tiny(), tmp_path / "run", resume=True, progress=False)


def test_a_full_disk_is_reported_in_one_line_and_leaves_the_previous_checkpoint_usable(tiny, tmp_path):
    folder, config = tmp_path / "run", tiny(epochs=8)
    stop_at_step(config, folder, 6)
    before = (folder / folders.CHECKPOINT).read_bytes()
    train_on_a_full_disk(len(before) // 2, config, folder, "--resume")
    assert (folder / folders.CHECKPOINT).read_bytes() == before
    run(config, folder, resume=True, progress=False)
    assert metrics_in(folder)["step"].tolist() == list(range(33))


@pytest.mark.parametrize("complete", [False, True])
def test_what_a_kill_left_half_written_is_swept(tiny, tmp_path, complete):
    folder = tmp_path / "run"
    run(tiny(), folder, progress=False)
    if not complete:
        (folder / folders.RESULTS).unlink()
    (folder / ".checkpoint.ckpt.abc.part").write_bytes(bytes(1000))
    run(tiny(), folder, resume=True, progress=False)
    assert not list(folder.glob(".*.part"))
