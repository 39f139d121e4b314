"""A run in several processes: torchrun starts them, each has a share of every batch, and the first one writes."""

import logging
import sys
import tempfile
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from revgn_lab.errors import ConfigError, RunError

_Found = TypeVar("_Found")


def launch(words: Sequence[str], count: int) -> int:
    """Run the command with these words in so many processes of this machine; gives its exit status.

    The first process speaks, and its status is that of all.

    Raises:
        ConfigError: fewer than one process.
        RunError: another than the first has died.
    """
    if count < 1:
        raise ConfigError(f"--ranks is the number of processes, at least 1; got {count}")
    with tempfile.TemporaryDirectory(prefix="revgn-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            run_id=Path(folder).name,
            max_restarts=0,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=folder, redirects=dict.fromkeys(range(1, count), Std.ALL)),
        )
        # Its own words on processes that have failed, which the first process has said in a line.
        logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
        try:
            elastic_launch(config, sys.executable)("-m", "revgn_lab.cli", *words)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if rank:
                raise RunError(
                    f"process {rank} of {count} has died (status {failure.exitcode}); go on with --resume"
                ) from error
            return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
        except SignalException as error:
            raise KeyboardInterrupt from error
    return 0


def is_launched() -> bool:
    """Whether torchrun has started this process."""
    return dist.is_torchelastic_launched()


@contextmanager
def joined() -> Generator[dist.ProcessGroup | None]:
    """The group of the processes that torchrun has started; None for a process by itself.

    Processes that fail with all others leave it to the first one to say so.
    """
    if not is_launched():
        yield None
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield dist.group.WORLD
    except Exception:
        if is_first(dist.group.WORLD):
            raise
        traceback.print_exc()
    finally:
        dist.destroy_process_group()


def is_first(group: dist.ProcessGroup | None) -> bool:
    """Whether this process writes and speaks."""
    return group is None or group.rank() == 0


def by_first(group: dist.ProcessGroup | None, function: Callable[[], _Found]) -> _Found:
    """What the function gives in the first process, in all of them; what it raises there is raised in all of them."""
    if group is None:
        return function()
    told: list[Any] = [None]
    if is_first(group):
        try:
            told = [(function(), None)]
        except Exception as error:
            told = [(None, error)]
    dist.broadcast_object_list(told, src=0, group=group)
    found, error = told[0]
    if error is not None:
        raise error
    return found


def any_process(group: dist.ProcessGroup | None, here: bool) -> bool:
    """Whether it is so in any process."""
    if group is None:
        return here
    flag = torch.tensor(int(here), device="cuda" if dist.get_backend(group) == "nccl" else "cpu")
    dist.all_reduce(flag, dist.ReduceOp.MAX, group=group)
    return bool(flag)


def share(group: dist.ProcessGroup | None, rows: Tensor) -> Tensor:
    """The rows of a batch that are this process's: in order, shares of equal size but for one row."""
    return rows if group is None else rows.tensor_split(group.size())[group.rank()]
