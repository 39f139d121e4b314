"""One computation of ours at a time in a process, to all of whose threads torch's switches and forward mode belong."""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager

import torch

_LOCK = threading.RLock()
_most_threads = 1  # of OpenMP, in any computation so far
_lost_threads = 0  # the same of the process that this one was forked from


@contextmanager
def alone() -> Generator[None]:
    """Wait until no other thread is within; one that is may enter again.

    Raises:
        RuntimeError: this process was forked from one that had computed with several threads of OpenMP.
    """
    global _most_threads
    with _LOCK:
        threads = torch.get_num_threads()
        if _lost_threads > 1 and threads > 1:
            raise RuntimeError(
                f"this process was forked from one that had computed with {_lost_threads} threads, which it lacks and "
                "would wait for without end; start it by 'spawn', or call torch.set_num_threads(1) in it"
            )
        _most_threads = max(_most_threads, threads)
        yield


def _begin_in_child() -> None:
    global _lost_threads
    _lost_threads = _most_threads
    _LOCK.release()


if hasattr(os, "register_at_fork"):
    # A fork waits for another thread's computation: else the child would keep its switches, and the lock, for ever.
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_begin_in_child)
