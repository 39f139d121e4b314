"""CIFAR-10: 60,000 colour images in six batches, as published for C or for Python, packed or unpacked."""

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from revgn_lab.data.data_error import DataError
from revgn_lab.data.downloads import RemoteFile, find_or_download
from revgn_lab.data.parts import Parts, image_parts

_PIXELS = 3 * 32 * 32  # red, green and blue plane of an image
_TRAINING = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
_TEST = "test_batch"
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_REMEDY = "remove or replace it and run again (a missing archive is downloaded)"
_ADVICE = "Put an archive of https://www.cs.toronto.edu/~kriz/cifar.html into one of these folders"
_Decoder = Callable[[bytes], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class CifarSource:
    """CIFAR-10, found in the data folders in any published form or downloaded as the binary archive.

    Args:
        archive: the archive that is downloaded.
        rows: images in a batch.
    """

    archive: RemoteFile
    rows: int = 10_000

    def read(self, roots: Sequence[Path]) -> Parts:
        """Read the six batches, downloading the archive into the first of `roots` if none of them has any form of it.

        Raises:
            DataError: the batches cannot be had, or are not what they should be.
        """
        missing = f"cifar10: none of {', '.join(_FORMS)}"
        place = find_or_download(self.archive, roots, ("cifar10", "."), tuple(_FORMS), missing=missing, advice=_ADVICE)
        suffix, decode = _FORMS[place.name]
        content = _read_folder(place, suffix) if place.is_dir() else _read_archive(place, suffix)
        batches = {name: self._checked(decode, content[name], f"{place}: {name}{suffix}") for name in content}
        return image_parts(
            torch.cat([batches[name][0] for name in _TRAINING]),
            torch.cat([batches[name][1] for name in _TRAINING]),
            *batches[_TEST],
            classes=_CLASSES,
        )

    def _checked(self, decode: _Decoder, content: bytes, where: str) -> tuple[Tensor, Tensor]:
        """Pixels (rows, 3, 1024) and labels (rows,) of a batch."""
        try:
            pixels, labels = decode(content)
        except Exception as error:  # a damaged pickle can raise anything, by pickle's documentation
            raise DataError(f"{where} is not a CIFAR-10 batch ({error}); {_REMEDY}") from error
        if len(pixels) != self.rows or len(labels) != self.rows:
            raise DataError(
                f"{where} has {len(pixels)} images and {len(labels)} labels, expected {self.rows}; {_REMEDY}"
            )
        if labels.min() < 0 or labels.max() >= len(_CLASSES):
            raise DataError(
                f"{where} has labels {int(labels.min())} to {int(labels.max())}, expected 0 to 9; {_REMEDY}"
            )
        return pixels.reshape(self.rows, 3, -1), labels


def _read_folder(folder: Path, suffix: str) -> Mapping[str, bytes]:
    """The content of the six batches in an unpacked archive."""
    try:
        return {name: (folder / f"{name}{suffix}").read_bytes() for name in (*_TRAINING, _TEST)}
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); unpack the archive again") from error


def _read_archive(archive: Path, suffix: str) -> Mapping[str, bytes]:
    """The content of the six batches in an archive. Nothing is unpacked to disk, so no path in it is ever followed."""
    wanted = {f"{name}{suffix}": name for name in (*_TRAINING, _TEST)}
    content: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                file = members.extractfile(member) if member.isfile() else None
                name = wanted.get(PurePosixPath(member.name).name)
                if file and name:
                    content[name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{archive}: is truncated or not a tar.gz archive ({error}); {_REMEDY}") from error
    missing = [file for file, name in wanted.items() if name not in content]
    if missing:
        raise DataError(f"{archive}: has no {', '.join(missing)}, expected the six batches of CIFAR-10; {_REMEDY}")
    return content


def _decode_binary(content: bytes) -> tuple[Tensor, Tensor]:
    """A batch as published for C: for each image a byte with its label and 3,072 bytes of pixels."""
    if not content or len(content) % (1 + _PIXELS):
        raise ValueError(f"{len(content)} bytes, expected a multiple of {1 + _PIXELS}")
    images = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(-1, 1 + _PIXELS)
    return images[:, 1:], images[:, 0].long()


def _decode_pickle(content: bytes) -> tuple[Tensor, Tensor]:
    """A batch as published for Python: a pickled dictionary with an array `data` and a list `labels`."""
    batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
    _, shape, kind, fortran, pixels = batch[b"data"].state
    if kind.arguments[0] not in ("u1", b"u1") or fortran or shape[1:] != (_PIXELS,):
        raise ValueError(f"its array has shape {shape}, expected bytes of shape (10000, {_PIXELS})")
    labels = torch.tensor(batch[b"labels"], dtype=torch.int64, device="cpu")
    return torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(shape), labels


class _NumpyState:
    """Stands in for everything of numpy in a pickled batch: keeps what it is given and runs nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _BatchUnpickler(pickle.Unpickler):
    """Unpickles numbers, strings, lists, dictionaries and byte arrays; a pickle can otherwise run any code it likes."""

    _PERMITTED = (
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
    )

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """The stand-in for what a byte array is made of, an error for anything else."""
        if f"{module_name}.{global_name}" not in self._PERMITTED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which a batch never needs")
        return _NumpyState


# Published forms: what the names of their batches end in, and how these are read. Unpacked ones come first: torchvision
# leaves both, and a folder is read faster.
_BINARY, _PYTHON = (".bin", _decode_binary), ("", _decode_pickle)
_FORMS: Mapping[str, tuple[str, _Decoder]] = {
    "cifar-10-batches-bin": _BINARY,
    "cifar-10-batches-py": _PYTHON,
    "cifar-10-binary.tar.gz": _BINARY,
    "cifar-10-python.tar.gz": _PYTHON,
}

CIFAR10 = CifarSource(
    # The form without pickles.
    RemoteFile(
        "cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        (
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
        ),
    )
)
