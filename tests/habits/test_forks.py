"""Models and optimizers in processes that were forked or spawned: the same steps, or a refusal, and never a wait."""

import multiprocessing
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from revgn.estimators import GaussNewtonRegressor
from subprocesses import SUBPROCESS

BEGIN = """
    import os, sys, threading, torch, revgn
    from torch import nn

    def trained():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 60), nn.Tanh(), nn.Linear(60, 2))
        return model, revgn.GaussNewton(model, nn.MSELoss(), 0.5), torch.randn(64, 20), torch.randn(64, 2)

    def step(optimizer, inputs, targets):
        optimizer.backward(inputs, targets)
        optimizer.step()

    def in_child(task):
        child = os.fork()
        if not child:
            try:
                task()
            except BaseException as error:
                print(type(error).__name__, error, flush=True)
                os._exit(1)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def sums(model):
        return [float(p.detach().double().sum()).hex() for p in model.parameters()]
"""
FORKED = """
    torch.set_num_threads(1)
    model, optimizer, inputs, targets = trained()
    step(optimizer, inputs, targets)
    read, write = os.pipe()

    def task():
        step(optimizer, inputs, targets)
        os.write(write, repr(sums(model)).encode())

    assert in_child(task) == 0
    step(optimizer, inputs, targets)
    assert os.read(read, 10_000).decode() == repr(sums(model))

    over = threading.Event()  # and while another thread computes

    def work():
        other, its_optimizer, *batch = trained()
        while not over.is_set():
            step(its_optimizer, *batch)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            assert in_child(lambda: step(optimizer, inputs, targets)) == 0
    finally:
        over.set()
        thread.join()
"""
WITHOUT_THREADS = """
    torch.set_num_threads(2)
    model, optimizer, inputs, targets = trained()
    step(optimizer, inputs, targets)
    assert in_child(lambda: step(optimizer, inputs, targets)) == 1
    assert in_child(lambda: revgn.Jacobian(model, inputs).gram()) == 1

    def with_one():
        torch.set_num_threads(1)
        step(optimizer, inputs, targets)

    assert in_child(with_one) == 0
"""
LOADED = """
    model, optimizer, inputs, targets = trained()
    data = torch.utils.data.TensorDataset(inputs, targets)

    def epochs(workers):
        model, optimizer, *_ = trained()
        for batch in torch.utils.data.DataLoader(data, 20, num_workers=workers, persistent_workers=workers > 0):
            step(optimizer, *batch)
        return sums(model)

    if __name__ == "__main__":
        torch.set_num_threads(2)
        assert epochs(2) == epochs(0)
"""


def finished(code, *, seconds=100):
    python = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(BEGIN) + textwrap.dedent(code)]
    done = subprocess.run(python, capture_output=True, text=True, timeout=seconds, env=SUBPROCESS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


forking = pytest.mark.skipif(sys.platform != "linux", reason="processes are not forked here")


@forking
@pytest.mark.nightly
def test_a_forked_process_takes_the_steps_of_its_parent_also_while_that_computes():
    finished(FORKED)


@forking
@pytest.mark.nightly
def test_a_forked_process_that_has_lost_its_threads_is_told_so():
    said = finished(WITHOUT_THREADS)
    message = "RuntimeError this process was forked from one that had computed with 2 threads, which it lacks and"
    assert said.count(message) == 2
    assert "call torch.set_num_threads(1) in it" in said


@forking
@pytest.mark.nightly
def test_workers_of_a_data_loader_beside_steps_change_nothing():
    finished(LOADED)


@pytest.mark.nightly
def test_estimators_are_the_same_on_processes_of_loky_and_in_a_spawned_one():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 3))
    y = np.sin(x[:, 0]) + x[:, 1]
    model = GaussNewtonRegressor(n_estimators=2, hidden_layer_sizes=6, random_state=0)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.apply_async(model.fit, (x, y)).get(100).predict(x)
    expected = model.fit(x, y).predict(x)
    np.testing.assert_array_equal(spawned, expected)
    np.testing.assert_array_equal(model.set_params(n_jobs=2).fit(x, y).predict(x), expected)
