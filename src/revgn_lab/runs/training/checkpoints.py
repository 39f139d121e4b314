"""Checkpoints that are whole or not there, and what is said of one that is damaged."""

import errno
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from revgn_lab.errors import FolderError
from revgn_lab.files import atomic_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Replaces the last checkpoint only by a whole one: a full disk or a kill leaves it as it was."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with atomic_file(Path(path)) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch's zip writer hides what the file system said, or Ctrl-C, behind an error of its own.
                if isinstance(error.__context__, OSError | KeyboardInterrupt):
                    raise error.__context__ from None
                raise OSError(errno.EIO, str(error), str(path)) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, its tensors on the CPU.

    Raises:
        FolderError: the file is damaged, or something else.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        try:
            _require_whole(file)
            # Only tensors and plain values: a checkpoint from elsewhere cannot run code.
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged pickle can raise anything, by pickle's documentation
            raise FolderError(_no_checkpoint(path, (str(error).splitlines() or [type(error).__name__])[0])) from error
    if not isinstance(checkpoint, dict) or "progress" not in checkpoint:
        raise FolderError(_no_checkpoint(path, "it holds something else"))
    return checkpoint


def _require_whole(file: BinaryIO) -> None:
    """Raise BadZipFile where a tensor is not as it was written: torch keeps checksums of all, and compares none."""
    with zipfile.ZipFile(file) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise zipfile.BadZipFile(f"{broken} is damaged")
    file.seek(0)


def _no_checkpoint(path: Path, reason: str) -> str:
    return f"{path} is not a whole checkpoint of a run ({reason}); put a copy back, or start over with --overwrite"
