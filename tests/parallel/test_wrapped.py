"""Optimizers of a part of what is wrapped: within DistributedDataParallel they work, FSDP's parameters are refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import revgn
from networks import normal, rev_mlp
from parallel.worlds import run
from revgn.losses import MSELoss

INPUTS, TARGETS = normal(12, 6), normal(12, 3, seed=1)


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 30), nn.Tanh(), nn.Linear(30, 3)).double()


class Loop(nn.Module):
    """Its forward pass is a step of training, as in a trainer that wraps the loop and not the network."""

    def __init__(self, optimizer: revgn.GaussNewton) -> None:
        super().__init__()
        self.network, self.optimizer = optimizer.model, optimizer

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return torch.tensor(self.optimizer.step(inputs, targets).loss, dtype=torch.float64)


MAKERS: dict[str, Callable[[nn.Module], revgn.GaussNewton]] = {
    "gauss-newton": lambda model: revgn.GaussNewton(model, MSELoss(), 0.5, momentum=0.5),
    "levenberg-marquardt": revgn.LevenbergMarquardt,
}


def in_a_loop(index: int) -> dict[str, float]:
    """How far steps within the wrapper are from those of one process; and what residuals say."""
    mine = (slice(0, 4), slice(4, 12))[index]
    found: dict[str, Any] = {}
    for name, make in MAKERS.items():
        one = make(network())
        loop = DistributedDataParallel(Loop(make(network(seed=index))))
        for _ in range(3):
            expected = one.step(INPUTS, TARGETS).loss
            loss = float(loop(INPUTS[mine], TARGETS[mine]))
        pairs = zip(one.model.parameters(), loop.parameters(), strict=True)
        found[name] = max(abs(loss - expected), *(float((a - b).detach().abs().max()) for a, b in pairs))
    other = revgn.GaussNewton(network(), MSELoss())  # of a model that the wrapper knows nothing of

    class Aside(Loop):
        def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
            return torch.tensor(len(other.backward(inputs, targets).outputs))

    found["aside"] = int(DistributedDataParallel(Aside(MAKERS["gauss-newton"](network())))(INPUTS[mine], TARGETS[mine]))
    fit = revgn.LevenbergMarquardt(network(), residuals=lambda model, batch: model(batch))
    try:
        DistributedDataParallel(Loop(fit))(INPUTS[mine], None)
    except ValueError as error:
        found["residuals"] = str(error)
    return found


def test_steps_within_the_forward_pass_of_a_wrapper_around_the_model_are_those_of_all_rows() -> None:
    for rows, found in zip((4, 8), run(in_a_loop, 2), strict=True):
        assert all(found[name] < 1e-11 for name in MAKERS)
        assert found["aside"] == rows
        assert "residuals with a group of processes" in found["residuals"]


USES: dict[str, Callable[[nn.Module], Any]] = {
    **{
        f"{right}, {place}": lambda model, right=right, group=group: revgn.GaussNewton(
            model, MSELoss(), right_inverse=right, group=dist.group.WORLD if group else None
        )
        for right in ("reversible", "adjoint", "moore-penrose")
        for place, group in (("all rows", False), ("rows over processes", True))
    },
    "dense": lambda model: revgn.dense.GaussNewton(model, MSELoss()),
    "levenberg-marquardt": revgn.LevenbergMarquardt,
    "fit": lambda model: revgn.fit(model, MSELoss(), INPUTS, TARGETS),
}


def sharded(_: int) -> dict[str, str]:
    """What each use says to each way of sharding a model, before or after the optimizer was made."""
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    def flattened(model: nn.Module) -> nn.Module:
        return FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))

    def without_names(model: nn.Module) -> nn.Module:
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"))

    def around(model: nn.Module) -> nn.Module:
        flattened(nn.Sequential(model))  # as Lightning's strategy does
        return model

    def said(attempt: Callable[[], Any]) -> str:
        try:
            attempt()
        except Exception as error:  # its kind is looked at
            return f"{type(error).__name__}: {error}"
        return "nothing"

    wraps = {"fully_shard": fully_shard, "flattened": flattened, "without names": without_names, "around": around}
    found: dict[str, str] = {}
    for (wrap, shard), (use, attempt) in ((w, u) for w in wraps.items() for u in USES.items()):
        model: Any = rev_mlp(6, 3, num_blocks=1)
        wrapped: Any = shard(model)
        found[f"{wrap}: {use}"] = said(lambda wrapped=wrapped, attempt=attempt: attempt(wrapped))
    for wrap in ("fully_shard", "flattened"):
        optimizer = revgn.GaussNewton(network(), MSELoss())
        kept: Any = wraps[wrap](optimizer.model)
        found[f"{wrap} afterwards"] = said(lambda optimizer=optimizer: optimizer.step(INPUTS, TARGETS))
        del kept
    return found


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    first, second = run(sharded, 2)
    assert set(first) == set(second), first
    return first | {f"{name}, in process 1": words for name, words in second.items()}


def test_what_fully_sharded_data_parallel_has_flattened_is_refused(refusals: dict[str, str]) -> None:
    said = {
        name: words for name, words in refusals.items() if name.startswith(("flattened", "without names", "around"))
    }
    assert len(said) == 2 * (3 * len(USES) + 1)
    for words in said.values():
        assert "is FullyShardedDataParallel's (FSDP)" in words
        assert "GaussNewton(model, loss, group=torch.distributed.group.WORLD)" in words


def test_what_fully_shard_has_sharded_is_refused(refusals: dict[str, str]) -> None:
    said = {name: words for name, words in refusals.items() if name.startswith("fully_shard")}
    assert "fully_shard or FSDP has replaced them" in said.pop("fully_shard afterwards")
    said.pop("fully_shard afterwards, in process 1")
    assert len(said) == 2 * len(USES)
    for name, words in said.items():
        assert words.startswith("ValueError: ")
        assert "\n" not in words
        remedy = (
            "fully_shard" if "reversible" in name else "GaussNewton(model, loss, group=torch.distributed.group.WORLD)"
        )
        assert remedy in words
