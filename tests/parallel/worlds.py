"""A function run in several processes of one gloo group, and what each of them gave."""

import datetime
import multiprocessing
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

# A process that has imported torch once forks all others: an import costs more than most of these tests.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["torch", "torch.distributed.tensor", "torch.distributed.checkpoint.state_dict", "revgn", "tables"]
)


def run(function: Callable[..., Any], world: int, *arguments: Any, seconds: float = 60) -> list[Any]:
    """What function(index, *arguments) returns in each process of a group, in order; an exception in the place of one.

    Args:
        function: of a module that can be imported.
        world: processes in the group.
        arguments: for the function, to be pickled.
        seconds: the group's time-out.
    """
    with tempfile.TemporaryDirectory() as folder:
        workers = [
            _context.Process(target=_work, args=(folder, index, world, seconds, function, arguments), daemon=True)
            for index in range(world)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(4 * seconds)
            if worker.is_alive():
                worker.kill()
        return [_read(Path(folder, f"{index}"), workers[index].exitcode) for index in range(world)]


def _work(
    folder: str, index: int, world: int, seconds: float, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/rendezvous",
            rank=index,
            world_size=world,
            timeout=datetime.timedelta(seconds=seconds),
        )
        found = function(index, *arguments)
    except Exception:  # the test looks at it
        found = RuntimeError(traceback.format_exc())
    Path(folder, f"{index}.part").write_bytes(pickle.dumps(found))
    os.replace(f"{folder}/{index}.part", f"{folder}/{index}")
    os._exit(0)  # without waiting for processes that have died


def _read(path: Path, exit_code: int | None) -> Any:
    return pickle.loads(path.read_bytes()) if path.exists() else RuntimeError(f"ended with {exit_code}")
