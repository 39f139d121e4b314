"""Locks that end with the process that holds them, however it ends."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from revgn_lab.errors import RunError

_FOLDER = ".locks"


@contextmanager
def study_lock(folder: Path) -> Generator[None]:
    """Keep other studies out of the folder.

    Raises:
        RunError: one is at work in it.
        OSError: the folder cannot be written to.
    """
    try:
        held = run_lock(folder, "study").acquire(blocking=False)
    except Timeout:
        raise RunError(
            f"another study is at work in {folder}; wait for its end, or name another folder with --out"
        ) from None
    with held:
        yield


def run_lock(folder: Path, name: str) -> FileLock:
    """Wait until no other process is at work on the run, say one that a killed study has left behind."""
    (folder / _FOLDER).mkdir(parents=True, exist_ok=True)
    return FileLock(folder / _FOLDER / name)
