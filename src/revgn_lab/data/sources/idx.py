"""MNIST and sets of its format: four idx files, images and labels for training and for testing."""

import gzip
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from revgn_lab.data.data_error import DataError
from revgn_lab.data.downloads import RemoteFile, find_or_download
from revgn_lab.data.parts import Parts, image_parts

_UNSIGNED_BYTE = 0x08  # the format's code for the only type that these sets use
_GZIP_MAGIC = b"\x1f\x8b"
_LONGEST_GAP = 50  # labels of class 0 in a row, or empty images
_REMEDY = "remove or replace this file and run again (a missing one is downloaded)"


@dataclass(frozen=True)
class IdxSource:
    """A set of images in idx files (gzip or plain), found in the data folders or downloaded.

    Args:
        name: of the set, and of its folder in a data folder.
        files: training images, training labels, test images, test labels.
        classes: names of the classes.
        advice: where else the files can be had; ends the message when they are missing.
        folders: further folders in a data folder where other tools leave these files.
        rows: training and test images.
        size: pixels of an image, height and width.
    """

    name: str
    files: tuple[RemoteFile, ...]
    classes: tuple[str, ...]
    advice: str
    folders: tuple[str, ...] = ()
    rows: tuple[int, int] = (60_000, 10_000)
    size: tuple[int, int] = (28, 28)

    def read(self, roots: Sequence[Path]) -> Parts:
        """Read the four files, downloading those that are nowhere in `roots` into the first.

        Raises:
            DataError: a file cannot be had, or is not what it should be.
        """
        images, labels, test_images, test_labels = (self._locate(file, roots) for file in self.files)
        return image_parts(
            read_idx(images, (self.rows[0], *self.size)).flatten(start_dim=1).unsqueeze(1),
            self._labels(labels, self.rows[0]),
            read_idx(test_images, (self.rows[1], *self.size)).flatten(start_dim=1).unsqueeze(1),
            self._labels(test_labels, self.rows[1]),
            classes=self.classes,
        )

    def _locate(self, file: RemoteFile, roots: Sequence[Path]) -> Path:
        folders, names = (self.name, *self.folders), (file.name, file.name.removesuffix(".gz"))
        missing = f"{self.name}: no {file.name}"
        return find_or_download(file, roots, folders, names, missing=missing, advice=self.advice)

    def _labels(self, path: Path, rows: int) -> Tensor:
        labels = read_idx(path, (rows,)).long()
        if labels.max() >= len(self.classes):
            raise DataError(f"{path}: a label is {int(labels.max())}, expected 0 to {len(self.classes) - 1}; {_REMEDY}")
        return labels


def read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """The bytes of an idx file, gzip or plain, as a uint8 tensor of `shape`.

    Raises:
        DataError: the file cannot be read, is of another format or shape, or ends early or late.
    """
    content = _content(path)
    expected_magic = bytes([0, 0, _UNSIGNED_BYTE, len(shape)])
    if not content.startswith(expected_magic):
        raise DataError(
            f"{path}: not an idx file of {len(shape)} dimension(s): it starts with {content[:4].hex() or 'nothing'}, "
            f"expected {expected_magic.hex()}; {_REMEDY}"
        )
    header = 4 + 4 * len(shape)
    found = tuple(int.from_bytes(content[start : start + 4], "big") for start in range(4, header, 4))
    if found != shape:
        held, expected = (" x ".join(map(str, lengths)) for lengths in (found, shape))
        raise DataError(f"{path}: holds {held} values, expected {expected}; {_REMEDY}")
    if len(content) != header + math.prod(shape):
        raise DataError(f"{path}: has {len(content)} bytes, expected {header + math.prod(shape)}; {_REMEDY}")
    values = torch.frombuffer(content, dtype=torch.uint8, offset=header).reshape(shape)
    _require_no_hole(path, values)
    return values


def _require_no_hole(path: Path, values: Tensor) -> None:
    """Refuse what a broken copy leaves: a long run of rows that are zero throughout, as no published file has."""
    full = torch.nonzero(values.reshape(len(values), -1).any(dim=1)).flatten()
    ends = torch.cat([torch.tensor([-1]), full, torch.tensor([len(values)])])
    gaps = ends.diff() - 1
    longest = int(gaps.max())
    if longest > _LONGEST_GAP:
        first = int(ends[gaps.argmax()]) + 1
        raise DataError(f"{path}: {longest} rows from {first} on are all zero, as in a broken copy; {_REMEDY}")


def _content(path: Path) -> bytearray:
    """The content, unpacked if it is gzip; mutable, as torch asks of the memory that a tensor is to share."""
    try:
        content = bytearray(path.read_bytes())
        return bytearray(gzip.decompress(content)) if content.startswith(_GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); {_REMEDY}") from error


_NAMES = [
    f"{name}-ubyte.gz" for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
]


def _published(addresses: tuple[str, ...], *checksums: str) -> tuple[RemoteFile, ...]:
    """The four files under their customary names, at each of the `addresses`."""
    places = [tuple(f"{address}/{name}" for address in addresses) for name in _NAMES]
    return tuple(map(RemoteFile, _NAMES, checksums, places))


MNIST = IdxSource(
    name="mnist",
    files=_published(
        ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    classes=tuple(str(digit) for digit in range(10)),
    advice="Put the four files of https://ossci-datasets.s3.amazonaws.com/mnist/ into one of these folders",
    folders=("MNIST/raw",),  # torchvision's
)

FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    files=_published(
        (
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        ),
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    advice=(
        "Install Debian's package dataset-fashion-mnist, or put the four files of "
        "https://github.com/zalandoresearch/fashion-mnist (data/fashion) into one of these folders"
    ),
    folders=("FashionMNIST/raw",),  # torchvision's
)
