"""Threads of one process that train at the same time: as if one after the other, to the bit."""

import copy
import sys
import threading

import numpy as np
import pytest
import torch
from joblib import parallel_backend
from torch import nn

import revgn
from networks import normal, rev_mlp
from revgn.control import LineSearch
from revgn.diagnostics import ntk
from revgn.estimators import GaussNewtonRegressor
from revgn.losses import MSELoss
from revgn.solvers import RunningCurvature
from snapshots import everything, switches

STEPS = 4


class Recurrent(nn.Module):
    """What makes a step turn off kernels that belong to the whole process."""

    def __init__(self):
        super().__init__()
        self.memory, self.readout = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.readout(self.memory(x.unsqueeze(1).expand(-1, 3, -1))[0][:, -1])


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
        self.readout = nn.Linear(6, 2)

    def forward(self, x):
        return self.readout(self.layer(x.unsqueeze(1).expand(-1, 3, -1)).mean(1))


def of(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind().double()


CASES = {
    "any module": (lambda: of(lambda: nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 2))), {}),
    "recurrent": (lambda: of(Recurrent), {}),
    "attention, judged": (lambda: of(Attending), {"control": LineSearch()}),
    "reversible": (lambda: rev_mlp(6, 2, num_blocks=2, hidden_features=30), {"momentum": 0.5, "spring": True}),
    "remembering": (
        lambda: of(lambda: nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 2))),
        {"right_inverse": "adjoint", "solver": RunningCurvature()},
    ),
}


def train(name, start):
    _, options = CASES[name]
    model = copy.deepcopy(start)
    optimizer = revgn.GaussNewton(model, MSELoss(), 0.2, **options)
    for seed in range(STEPS):
        batch = normal(8, 6, seed=seed), normal(8, 2, seed=seed + 100)
        if "control" in options:
            optimizer.step(*batch)
        else:
            optimizer.backward(*batch)
            optimizer.step()
    return everything(model, optimizer) | {"kernel": ntk(model, normal(4, 6)).numpy().tobytes()}


@pytest.fixture
def hasty(monkeypatch):
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(tasks):
    """What each task returns, by its name; all begin at the same time."""
    found, ready = {}, threading.Barrier(len(tasks))

    def work(name, task):
        ready.wait()
        found[name] = task()

    threads = [threading.Thread(target=work, args=each, daemon=True) for each in tasks.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found


def test_models_trained_at_the_same_time_are_those_trained_one_after_the_other(hasty):
    starts = {name: make() for name, (make, _) in CASES.items()}  # not by threads: torch has one seed for all
    expected, before = {name: train(name, start) for name, start in starts.items()}, switches()
    assert together({name: lambda each=(name, start): train(*each) for name, start in starts.items()}) == expected
    assert switches() == before


def test_whole_steps_of_one_optimizer_by_several_threads_are_taken_in_turns(hasty):
    inputs, targets = normal(8, 6), normal(8, 2, seed=1)
    model = of(lambda: nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 2)))
    other = copy.deepcopy(model)
    shared, alone = (revgn.LevenbergMarquardt(each) for each in (model, other))
    taken = together({i: lambda: [shared.step(inputs, targets).loss for _ in range(3)] for i in range(3)})
    losses = [alone.step(inputs, targets).loss for _ in range(9)]
    assert sorted((loss for each in taken.values() for loss in each), reverse=True) == losses
    assert everything(model, shared) == everything(other, alone)


def test_estimators_whose_networks_are_fitted_by_threads_are_the_same(hasty):
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 3))
    y = np.sin(x[:, 0]) + x[:, 1]
    model = GaussNewtonRegressor(n_estimators=3, hidden_layer_sizes=6, random_state=0)
    expected = model.fit(x, y).predict(x)
    threads = torch.get_num_threads()
    with parallel_backend("threading", n_jobs=3):
        np.testing.assert_array_equal(model.set_params(n_jobs=3).fit(x, y).predict(x), expected)
    assert torch.get_num_threads() == threads
