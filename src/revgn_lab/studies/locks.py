"""Locks that end with the process that holds them, however it ends."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from revgn_lab.errors import RunError

_FOLDER = ".locks"


@contextmanager
def study_lock(folder: Path) -> Generator[None]:
    """Keep other studies out of the folder.

    Raises:
        RunError: one is at work in it.
        OSError: the folder cannot be written to.
    """
    with _opened(folder, "study") as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode() or "unknown"
            raise RunError(
                f"another study is at work in {folder} (process {holder}); wait for its end, or name another folder "
                "with --out"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield


@contextmanager
def run_lock(folder: Path, name: str) -> Generator[None]:
    """Wait until no other process is at work on the run, say one that a killed study has left behind."""
    with _opened(folder, name) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(folder: Path, name: str) -> Generator[int]:
    (folder / _FOLDER).mkdir(parents=True, exist_ok=True)
    # Python does not hand descriptors on to child processes: none of them keeps the lock.
    descriptor = os.open(folder / _FOLDER / name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
