"""Where data files lie, and how a missing one is downloaded: checked, and whole or not at all."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from revgn_lab.data.data_error import DataError, require

SYSTEM_ROOT = Path("/usr/share/datasets")  # where Debian's dataset-* packages put their files
_TIMEOUT = 20.0  # seconds without an answer before the next address is tried


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name, its SHA-256 in hexadecimal, and the addresses that offer it, best first."""

    name: str
    sha256: str
    addresses: tuple[str, ...]


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


def find_or_download(
    file: RemoteFile, roots: Sequence[Path], folders: Sequence[str], names: Sequence[str], *, missing: str, advice: str
) -> Path:
    """What `find` finds, or else `file`, downloaded into the first of the `folders` of the first of the `roots`.

    Raises:
        DataError: neither can be had; the message says what is `missing`, where it was searched and why, and `advice`.
    """
    try:
        return find(roots, folders, names) or download(file, roots[0] / folders[0])
    except DataError as error:
        searched = ", ".join(str(root / folders[0]) for root in roots)
        raise DataError(f"{missing} in {searched}, and {error}. {advice}") from error


def download(file: RemoteFile, folder: Path) -> Path:
    """Fetch `file` into `folder`; it appears there whole and checked, or not at all.

    Raises:
        DataError: no address delivered it with the right checksum, or it could not be written.
    """
    pooch = require("pooch", f"to download {file.name}")
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=_TIMEOUT)
    failures: list[str] = []
    for address in file.addresses:
        try:
            path = pooch.retrieve(address, f"sha256:{file.sha256}", file.name, folder, downloader=downloader)
        except (require("requests", "to download").RequestException, ValueError) as error:
            failures.append(f"{address}: {' '.join(str(error).split())}")
        except OSError as error:  # the network's own are above: this is the disk
            raise DataError(
                f"cannot write {folder / file.name}: {error.strerror or error}; free some space, or name another data "
                "folder in the environment variable REVGN_DATA"
            ) from error
        else:
            Path(path).chmod(0o644)  # pooch's are for their owner alone
            return Path(path)
    raise DataError(f"could not download {file.name} ({'; '.join(failures)})")
