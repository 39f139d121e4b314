"""Lightning's strategies: the steps of its processes are those of one, and its checkpoints go on in any number."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from parallel.worlds import run
from subprocesses import SUBPROCESS

TOLERANCE = 1e-12
RIGHT = ("group", "no group", "control", "control, no group", "remembering", "two optimizers")
REFUSED = {
    "automatic": r"call optimizer\.backward\(inputs, targets\) in place of loss\.backward",
    "a loss's backward": r"call optimizer\.backward\(inputs, targets\) in place of loss\.backward",
    "residuals": "residuals with a group of processes; expected a loss",
}

pytestmark = pytest.mark.nightly


def as_under_torchrun(index: int, folder: str) -> dict[str, Any]:
    """The ends of all loops in this process, what the refused ones say, and that of one from a checkpoint of two."""
    world = dist.get_world_size()
    os.environ |= {"RANK": f"{index}", "LOCAL_RANK": f"{index}", "WORLD_SIZE": f"{world}", "GROUP_RANK": "0"}
    os.environ |= {"LOCAL_WORLD_SIZE": f"{world}", "TORCHELASTIC_RUN_ID": "a", "MASTER_ADDR": "", "MASTER_PORT": "0"}
    from lightning.pytorch.strategies import DDPStrategy

    from parallel.lightning_loop import train

    found: dict[str, Any] = {}
    for how in (*RIGHT, *REFUSED):
        try:
            found[how] = train(how, 2, count=world, strategy=DDPStrategy(), saved=Path(folder, f"{how}.ckpt"))
        except Exception as error:  # its words are looked at
            found[how] = f"{type(error).__name__}: {error}"
    found["static graph"] = train("group", 2, count=world, strategy=DDPStrategy(static_graph=True))
    found["unused"] = train("group", 2, count=world, strategy=DDPStrategy(find_unused_parameters=True))
    for how in RIGHT:
        found[f"{how} going on"] = train(how, 4, count=world, strategy="ddp", going_on=Path(folder, f"{how}.ckpt"))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("lightning")
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def ends(folder: Path) -> list[dict[str, Any]]:
    return run(as_under_torchrun, 2, str(folder), seconds=120)


def assert_as_one(found: Tensor, how: str, epochs: int) -> None:
    """The last losses and the parameters are those of one process, as far as the order of the rows lets them."""
    from parallel.lightning_loop import train

    one, turned = train(how, epochs), train(how, epochs, turned=True)
    one, turned = one[len(one) - len(found) :], turned[len(one) - len(found) :]
    allowed = max(TOLERANCE * float(one.norm()), 10 * float((turned - one).norm()))
    assert float((found - one).norm()) < allowed


@pytest.mark.parametrize("how", RIGHT)
def test_the_steps_of_two_processes_are_those_of_one(ends: list[dict[str, Any]], how: str) -> None:
    first, second = (end[how] for end in ends)
    assert torch.equal(first, second)
    assert_as_one(first, how, 2)


@pytest.mark.parametrize("how", ["static graph", "unused"])
def test_what_the_reducer_is_told_changes_nothing(ends: list[dict[str, Any]], how: str) -> None:
    assert torch.equal(ends[0][how], ends[0]["group"])


@pytest.mark.parametrize("how", REFUSED)
def test_what_would_be_wrong_is_refused_in_every_process(ends: list[dict[str, Any]], how: str) -> None:
    for end in ends:
        with pytest.raises(AssertionError, match=REFUSED[how]):
            raise AssertionError(end[how])


@pytest.mark.parametrize("how", RIGHT)
def test_a_checkpoint_of_two_processes_goes_on_in_two_and_in_one(
    ends: list[dict[str, Any]], folder: Path, how: str
) -> None:
    from parallel.lightning_loop import train

    assert_as_one(ends[0][f"{how} going on"], how, 4)
    assert_as_one(train(how, 4, going_on=folder / f"{how}.ckpt"), how, 4)


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
def test_processes_that_lightning_starts_take_the_same_steps(tmp_path: Path, strategy: str) -> None:
    pytest.importorskip("lightning")
    from parallel.lightning_loop import Module

    command = [sys.executable, "-m", "parallel.lightning_loop", strategy, "no group", "2", str(tmp_path / "saved")]
    ran = subprocess.run(
        command, env=SUBPROCESS, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr
    module = Module("no group")
    module.load_state_dict(torch.load(tmp_path / "saved", weights_only=True)["state_dict"])
    assert_as_one(torch.cat([p.detach().flatten() for p in module.parameters()]), "no group", 2)
