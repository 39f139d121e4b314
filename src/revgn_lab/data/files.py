"""Where data files lie, and how a missing one is downloaded: checked, and whole or not at all."""

import hashlib
import logging
import os
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError

from revgn_lab.data.errors import DataError
from revgn_lab.files import atomic_file

_log = logging.getLogger(__name__)

SYSTEM_ROOT = Path("/usr/share/datasets")  # where Debian's dataset-* packages put their files
_TIMEOUT = 20.0  # seconds without an answer before the next address is tried
_CHUNK = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name, its SHA-256 in hexadecimal, and the addresses that offer it, best first."""

    name: str
    sha256: str
    addresses: tuple[str, ...]


class _TransferError(Exception):
    """One address did not deliver; another may."""


def data_roots(root: str | Path | None) -> list[Path]:
    """The folders that are searched, in this order; missing files are downloaded into the first.

    `root` if given, the environment variable REVGN_DATA if set, the user's cache folder (XDG_CACHE_HOME, else ~/.cache)
    and the system's /usr/share/datasets.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "revgn"
    chosen = [Path(folder) for folder in (root, os.environ.get("REVGN_DATA")) if folder]
    return [folder.expanduser() for folder in (*chosen, cache, SYSTEM_ROOT)]


def find(roots: Sequence[Path], folders: Sequence[str], names: Sequence[str]) -> Path | None:
    """The first of `names` that exists in the first of the `folders` of the first of the `roots`, None if none does."""
    places = (root / folder / name for root in roots for folder in folders for name in names)
    # os.path.exists, unlike Path.exists, takes a folder that may not be entered for one that is not there.
    return next((place for place in places if os.path.exists(place)), None)


def download(file: RemoteFile, folder: Path) -> Path:
    """Fetch `file` into `folder`; it appears there whole and checked, or not at all.

    Raises:
        DataError: no address delivered it with the right checksum, or it could not be written.
    """
    failures: list[str] = []
    for address in file.addresses:
        try:
            return _download_from(address, file, folder)
        except _TransferError as error:
            failures.append(f"{address}: {error}")
        except OSError as error:  # the network's own are _TransferError by now: this is the disk
            raise DataError(
                f"cannot write {folder / file.name}: {error.strerror or error}; free some space, or name another data "
                "folder in the environment variable REVGN_DATA"
            ) from error
    raise DataError(f"could not download {file.name} ({'; '.join(failures)})")


def _download_from(address: str, file: RemoteFile, folder: Path) -> Path:
    _log.info("downloading %s", address)
    with atomic_file(folder / file.name) as output:
        found = _copy(_chunks(address), output)
        if found != file.sha256:
            raise _TransferError(f"the file there has SHA-256 {found}, expected {file.sha256}")
    return folder / file.name


def _copy(chunks: Iterator[bytes], output: BinaryIO) -> str:
    """Write the chunks and return their SHA-256."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        output.write(chunk)
    return digest.hexdigest()


def _chunks(address: str) -> Iterator[bytes]:
    """The content of `address`, in pieces. Network errors, which are OSErrors too, leave as _TransferError."""
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
            expected = answer.headers.get("Content-Length")
            received = 0
            while chunk := answer.read(_CHUNK):
                received += len(chunk)
                yield chunk
    except HTTPError as error:
        raise _TransferError(str(error)) from error
    except URLError as error:
        raise _TransferError(str(error.reason)) from error
    except (OSError, HTTPException) as error:
        raise _TransferError(str(error) or type(error).__name__) from error
    # http.client takes an early end of the connection for the end of the file.
    if expected is not None and received != int(expected):
        raise _TransferError(f"the transfer ended after {received} of {expected} bytes")
