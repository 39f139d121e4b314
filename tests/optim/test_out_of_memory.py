"""Steps that find no room for a tensor, wherever that happens: nothing is changed, and the next step is taken."""

import copy
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import revgn
from networks import normal, rev_mlp
from revgn import _sizes
from revgn.control import LineSearch, TrustRegion
from revgn.losses import MSELoss
from revgn.solvers import RunningCurvature
from snapshots import everything, switches
from subprocesses import SUBPROCESS

TORCH_SAYS = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "86400000 bytes. Error code 12 (Cannot allocate memory)"
)


class Full(TorchDispatchMode):
    """From the tensor of this number on, counted from 0, each that is to be made fails as torch's allocator does."""

    def __init__(self, first):
        super().__init__()
        self.first, self.count = first, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        made = {t.untyped_storage()._cdata for t in tree_leaves(result) if isinstance(t, torch.Tensor)} - given
        if made:
            if self.count >= self.first:
                raise RuntimeError(TORCH_SAYS)
            self.count += 1
        return result


def plain():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 14), nn.Tanh(), nn.LayerNorm(14), nn.Linear(14, 2)).double()


def reversible():
    return rev_mlp(6, 2, num_blocks=2, hidden_features=30)


CASES = {
    "moore-penrose": (plain, lambda m: revgn.GaussNewton(m, MSELoss(), 0.3, momentum=0.6)),
    "running curvature": (
        plain,
        lambda m: revgn.GaussNewton(m, MSELoss(), 0.1, right_inverse="adjoint", solver=RunningCurvature()),
    ),
    "spring": (reversible, lambda m: revgn.GaussNewton(m, MSELoss(), 0.3, momentum=0.5, spring=True)),
    "line search": (reversible, lambda m: revgn.GaussNewton(m, MSELoss(), control=LineSearch())),
    "trust region that remembers": (
        plain,
        lambda m: revgn.GaussNewton(
            m, MSELoss(), right_inverse="adjoint", solver=RunningCurvature(), control=TrustRegion(), momentum=0.5
        ),
    ),
    "levenberg-marquardt": (plain, lambda m: revgn.LevenbergMarquardt(m, geodesic=True)),
    "ridge": (plain, lambda m: revgn.LevenbergMarquardt(m, damping="gcv")),
}
JUDGED = ("line search", "trust region that remembers", "levenberg-marquardt", "ridge")


def batch(seed):
    return normal(8, 6, seed=seed), normal(8, 2, seed=seed + 100)


def check(name, steps_before, places):
    make, optimize = CASES[name]
    take = "step" if name in JUDGED else "backward"
    start, given = make(), batch(50)

    def begun():
        model = copy.deepcopy(start)
        optimizer = optimize(model)
        for seed in range(steps_before):
            getattr(optimizer, take)(*batch(seed))
            if take == "backward":
                optimizer.step()
        return model, optimizer

    for _ in range(2):  # some tensors are made once in a process
        model, optimizer = begun()
        with Full(10**9) as never:
            getattr(optimizer, take)(*given)
    assert never.count > 100
    model, optimizer = begun()
    getattr(optimizer, take)(*given)
    expected = everything(model, optimizer)
    for first in range(0, never.count, -(-never.count // places)):
        model, optimizer = begun()
        before, switched = everything(model, optimizer), switches()
        with pytest.raises(MemoryError, match=r"tensor of 86.4 MB finds no room in memory; use fewer"), Full(first):
            getattr(optimizer, take)(*given)
        assert everything(model, optimizer) == before
        assert switches() == switched
        getattr(optimizer, take)(*given)
        assert everything(model, optimizer) == expected


@pytest.mark.parametrize("name", CASES)
def test_a_step_without_room_changes_nothing_and_the_next_one_is_as_if_it_had_not_been(name):
    check(name, 1, 10)


@pytest.mark.nightly
@pytest.mark.parametrize("steps_before", [0, 2])
@pytest.mark.parametrize("name", CASES)
def test_the_same_at_many_more_places(name, steps_before):
    check(name, steps_before, 60)


MANY = torch.zeros(1_000_000, 1)  # a kernel of them takes 8 TB, more than any machine has for it


@pytest.mark.parametrize("kernel", ["gram", "mean_gram"])
def test_a_kernel_that_exceeds_the_machine_is_refused_before_it_is_begun(kernel):
    jacobian = revgn.Jacobian(nn.Linear(1, 1), MANY)
    with pytest.raises(
        MemoryError, match=r"the tangent kernel of 1000000 rows .*would take 8 TB, and this machine has"
    ):
        getattr(jacobian, kernel)()


@pytest.mark.parametrize("name", ["moore-penrose", "levenberg-marquardt", "ridge"])
def test_a_step_whose_kernel_exceeds_the_machine_changes_nothing(name, monkeypatch):
    make, optimize = CASES[name]
    model = make()
    optimizer = optimize(model)
    optimizer.step(*batch(0))
    before = everything(model, optimizer)
    with monkeypatch.context() as patch:
        patch.setattr(_sizes.os, "sysconf", lambda name: 32)  # a machine of 1024 bytes
        with pytest.raises(
            MemoryError, match=r"the tangent kernel of 8 rows .*would take .*, and this machine has 1.02"
        ):
            optimizer.step(*batch(1))
    assert everything(model, optimizer) == before
    optimizer.step(*batch(1))
    assert everything(model, optimizer) != before


REAL = """
    import resource, torch, revgn
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 60), nn.Tanh(), nn.Linear(60, 2))
    inputs, targets = torch.randn(6000, 30), torch.randn(6000, 2)
    optimizer = revgn.GaussNewton(model, nn.MSELoss(), control=revgn.control.LineSearch(), momentum=0.5)
    optimizer.step(inputs[:16], targets[:16])

    def state():
        return [t.detach() for p in model.parameters() for t in (p, optimizer.state[p]["momentum_buffer"])]

    before = [t.clone() for t in state()]
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    for room in (10, 60, 200):
        resource.setrlimit(resource.RLIMIT_AS, (used + room * 2**20, resource.RLIM_INFINITY))
        try:
            optimizer.step(inputs, targets)
        except MemoryError as error:
            print(error)
        assert all(torch.equal(a, b) for a, b in zip(before, state(), strict=True))
    assert optimizer.step(inputs[:16], targets[:16]).exact
"""


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="reads what it takes from /proc")
def test_a_process_whose_memory_is_limited_goes_on_with_a_smaller_batch():
    code = textwrap.dedent(REAL)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=SUBPROCESS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finds no room in memory") == 3
