"""What optimizers of several processes promise besides their steps: DDP, words for every fault, and traffic."""

import copy
import os
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import revgn
from networks import normal
from parallel.worlds import run
from revgn.losses import CrossEntropyLoss, MSELoss

INPUTS, TARGETS, CLASSES = normal(12, 5), normal(12, 3, seed=1), torch.arange(12) % 3


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 3)).double()


def mine(tensor: Tensor, index: int) -> Tensor:
    """Four rows of process 0 and eight of process 1."""
    return (tensor[:4], tensor[4:])[index]


def of_ddp(index: int) -> float:
    """How far steps of a wrapped module, whose processes were made differently, are from those of one process."""
    wrapped = DistributedDataParallel(network(seed=index))
    # A copy takes its steps with the same processes.
    one, many = revgn.GaussNewton(network(), MSELoss()), copy.deepcopy(revgn.GaussNewton(wrapped, MSELoss()))
    wrapped.module = many.model
    for _ in range(2):
        wrapped(mine(INPUTS, index))  # other forward passes of the loop
        many.backward(mine(INPUTS, index), mine(TARGETS, index))
        many.step()
        one.backward(INPUTS, TARGETS)
        one.step()
    return max(float((a - b).abs().max()) for a, b in zip(one.model.parameters(), wrapped.parameters(), strict=True))


def test_a_backward_of_a_distributed_data_parallel_gives_the_step_of_all_rows() -> None:
    assert max(run(of_ddp, 2)) < 1e-11


class Raising(nn.Module):
    """Its forward pass fails in one process."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, inputs: Tensor) -> Tensor:
        if dist.get_rank() == 1:
            raise IndexError("no such row")
        return self.inner(inputs)


def spoilt(tensor: Tensor, index: int) -> Tensor:
    tensor = mine(tensor, index).clone()
    if index == 1:
        tensor[0, 0] = torch.nan
    return tensor


def _gauss_newton(model: nn.Module, loss: Any = None, **options: Any) -> revgn.GaussNewton:
    return revgn.GaussNewton(model, MSELoss() if loss is None else loss, group=dist.group.WORLD, **options)


FAULTS: dict[str, tuple[Callable[[int], Any], str]] = {
    "NaN in the inputs of one process": (
        lambda i: _gauss_newton(network()).backward(spoilt(INPUTS, i), mine(TARGETS, i)),
        r"FloatingPointError: the loss is nan: inputs hold NaN or infinity in 1 of 12 rows \(4\); remove",
    ),
    "NaN in the targets of one process": (
        lambda i: _gauss_newton(network()).backward(mine(INPUTS, i), spoilt(TARGETS, i)),
        r"FloatingPointError: the loss is nan: targets hold NaN or infinity in 1 of 12 rows \(4\)",
    ),
    "a class that does not exist": (
        lambda i: _gauss_newton(network(), CrossEntropyLoss()).backward(mine(INPUTS, i), mine(CLASSES, i) + i),
        "ValueError: .*class",
    ),
    "a forward pass that fails in one process": (
        lambda i: _gauss_newton(Raising()).backward(mine(INPUTS, i), mine(TARGETS, i)),
        "RuntimeError: process 1 of 2: no such row",
    ),
    "too few targets in one process": (
        lambda i: _gauss_newton(network()).backward(mine(INPUTS, i), mine(TARGETS, i)[i:]),
        r"ValueError: process 1 of 2: targets of shape \(7, 3\) for 8 rows of inputs",
    ),
    "targets of another dtype in one process": (
        lambda i: _gauss_newton(network()).backward(
            mine(INPUTS, i), mine(TARGETS, i).to((torch.double, torch.half)[i])
        ),
        r"ValueError: targets and sample_weight .* torch.float64 \(3,\), no weights in process 0, and torch.float16",
    ),
    "weights in one process": (
        lambda i: _gauss_newton(network()).backward(
            mine(INPUTS, i), mine(TARGETS, i), [None, torch.ones(8).double()][i]
        ),
        "ValueError: targets and sample_weight .* no weights in process 0, and .* torch.float64 in process 1",
    ),
    "no rows in any process": (
        lambda i: _gauss_newton(network()).backward(INPUTS[:0], TARGETS[:0]),
        "ValueError: an empty batch: 0 rows in each of 2 processes",
    ),
    "models that differ": (
        lambda i: _gauss_newton(network(seed=i)).backward(mine(INPUTS, i), mine(TARGETS, i)),
        "ValueError: the parameters of processes 0 and 1 differ; expected the same model in all",
    ),
    "features in chunks": (
        lambda i: _gauss_newton(revgn.RevMLP(6, 3, num_blocks=1, hidden_features=20).double(), chunk_rows=2).backward(
            mine(normal(12, 6), i), mine(TARGETS, i)
        ),
        "ValueError: chunk_rows with a batch over 2 processes",
    ),
    "residuals": (
        lambda i: revgn.LevenbergMarquardt(network(), residuals=lambda m, x: m(x), group=dist.group.WORLD),
        "ValueError: residuals with a group of processes",
    ),
    "a fit": (
        lambda i: revgn.fit(DistributedDataParallel(network()), MSELoss(), INPUTS, TARGETS),
        "ValueError: fit runs in one process",
    ),
    "a pickle": (lambda i: pickle.dumps(_gauss_newton(network())), "TypeError: a process group cannot be pickled"),
}


def met(index: int) -> dict[str, str]:
    """The words of every fault."""
    torch.manual_seed(0)
    found: dict[str, str] = {}
    for name, (provoke, _) in FAULTS.items():
        try:
            provoke(index)
            found[name] = "nothing was raised"
        except Exception as error:  # its kind is looked at
            found[name] = f"{type(error).__name__}: {error}"
    return found


def test_every_process_raises_the_same_words() -> None:
    first, second = run(met, 2)
    assert first == second
    for name, (_, words) in FAULTS.items():
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(first[name])


def dying(index: int, how: str) -> tuple[str, float, bool]:
    """What a process meets whose fellow dies or stalls in the third step, how soon, and whether its model is whole."""
    model = network()
    optimizer = _gauss_newton(model)
    batch = mine(INPUTS, index), mine(TARGETS, index)
    for _ in range(2):
        optimizer.backward(*batch)
        optimizer.step()
    if index == 1:
        if how == "dies":
            os._exit(9)
        time.sleep(6)
        return "", 0.0, True
    before = copy.deepcopy(model.state_dict())
    began = time.perf_counter()
    try:
        optimizer.step(*batch)
    except RuntimeError as error:
        same = all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
        return str(error), time.perf_counter() - began, same
    return "nothing was raised", 0.0, True


@pytest.mark.parametrize("how", ["dies", "stalls"])
def test_a_process_that_dies_or_stalls_is_told_of_within_the_time_out(how: str) -> None:
    told, seconds, whole = run(dying, 2, how, seconds=4)[0]
    assert "process 0 of 2 cannot reach the others: one has died, or has not answered within the time-out" in told
    assert seconds < 8
    assert whole
