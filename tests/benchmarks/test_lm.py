"""The benchmark of Levenberg-Marquardt: what counts as reached, and what is shown where something fails."""

import math

import pytest
import torch

import lm
import lm_methods
import lm_problems
import package
from lm import SETTINGS
from lm_methods import BFGS, MINPACK, OURS, TRF, Over, Watch


@pytest.mark.parametrize(("loss", "ends"), [(2.0, False), (1.0, True), (0.5, True), (math.nan, True)])
def test_a_watch_ends_at_its_target_and_where_the_loss_is_gone(loss, ends):
    watch = Watch(target=1.0)
    if ends:
        with pytest.raises(Over):
            watch.look(loss)
    else:
        watch.look(loss)
    assert watch.reached == (loss <= 1.0)


def test_the_clock_stands_still_between_pause_and_resume():
    watch = Watch(target=0.0)
    watch.resume()
    watch.pause()
    assert watch.seconds == watch.seconds


def test_batches_are_those_of_an_epoch_after_another():
    rows = lm_methods.batches(10, 4)
    epoch = torch.cat([next(rows) for _ in range(3)])
    assert sorted(epoch.tolist()) == list(range(10))
    assert next(lm_methods.batches(10, None)) is None


@pytest.mark.parametrize("method", [OURS, TRF, MINPACK, BFGS])
def test_the_loss_that_ends_a_training_is_that_of_parameters_it_really_had(method):
    on = lm_problems.mlp(0, True)
    start = lm_methods.loss_of(on)
    options = SETTINGS["mlp"].methods[method][0]
    watch = lm._train(on, method, options, Watch(target=start / 10, patience=60.0))
    assert watch.reached
    assert watch.steps >= 1
    assert 0 < watch.loss <= start / 10


def test_a_method_that_was_refused_memory_in_a_training_says_so():
    run = {"reached": False, "steps": None, "seconds": None, "loss": None, "failure": "out of memory"}
    assert lm.summary([run])["success"] == "out of memory"
    assert lm.summary([run])["steps"] is None


def test_medians_are_of_the_trainings_that_got_there():
    runs = [
        {"reached": True, "steps": 3, "seconds": 1.0, "loss": 0.0},
        {"reached": True, "steps": 5, "seconds": 3.0, "loss": 0.0},
        {"reached": False, "steps": 90, "seconds": 90.0, "loss": 1.0},
    ]
    found = lm.summary(runs)
    assert (found["success"], found["steps"], found["seconds"]) == ("2 of 3", 4, 2.0)


def test_a_package_that_is_not_installed_is_left_out_with_how_to_install_it(monkeypatch, tmp_path, capsys, in_process):
    monkeypatch.setattr(package, "installed", lambda: False)
    lm.main(["sinc", "--tiny", "--seeds", "1", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert f"{package.NAME} is left out: it is not installed (pip install --no-deps {package.NAME}" in said
    assert f"sinc       {package.NAME}" not in said
