"""Files: which hold tables, by the ends of their names, and how any is written whole or not at all."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEXT_TABLES = (".csv", ".tsv", ".txt", ".tab")
TABLES = (*TEXT_TABLES, ".parquet", ".npz")
"""Suffixes; here, where the command's help finds them without importing what reads tables."""


@contextmanager
def atomic_file(path: Path) -> Generator[BinaryIO]:
    """A file to write `path` into, making its folder where need be.

    Readers see the file that was there before or the whole new one: an OSError (no folder, a full disk) or an interrupt
    leaves the old one as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because only within one file system is a rename all or nothing.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())  # else a power cut may leave the new name on an empty file
        part.chmod(0o644)  # temporary files are for their owner alone; results may be shared
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Put `content` into `path` as `atomic_file` does; text is written in UTF-8."""
    with atomic_file(path) as output:
        output.write(content.encode() if isinstance(content, str) else content)
