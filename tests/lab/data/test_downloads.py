import errno
import os
from pathlib import Path

import pooch
import pytest

from revgn_lab import data
from revgn_lab.data.downloads import SYSTEM_ROOT, RemoteFile, data_roots, download, find

CONTENT = bytes(range(256)) * 9000  # more than two of the pieces in which it is fetched


def _left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_roots_are_the_argument_then_the_environment_then_the_cache_then_the_system(tmp_path, monkeypatch):
    monkeypatch.setenv("REVGN_DATA", "/srv/sets")
    assert data_roots("~/mine") == [Path.home() / "mine", Path("/srv/sets"), tmp_path / "cache" / "revgn", SYSTEM_ROOT]
    for name in ("XDG_CACHE_HOME", "REVGN_DATA"):
        monkeypatch.delenv(name)
    assert data_roots(None) == [Path.home() / ".cache" / "revgn", SYSTEM_ROOT]


def test_the_first_root_wins(tmp_path):
    for place in ("a/y", "b/x"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "file").touch()
    assert find([tmp_path / "a", tmp_path / "b"], ["x", "y"], ["file"]) == tmp_path / "a" / "y" / "file"
    assert find([tmp_path / "a"], ["x"], ["file"]) is None


def test_a_download_is_the_file_itself_for_all_to_read_and_leaves_nothing_beside_it(server, tmp_path):
    path = download(server.offer("set.bin", CONTENT), tmp_path / "new" / "folder")
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o644
    assert _left_in(tmp_path / "new" / "folder") == ["set.bin"]


def test_a_wrong_checksum_and_a_transfer_that_ends_early_are_refused_and_leave_what_was_there(
    server, tmp_path, message
):
    remote = server.offer("set.bin", CONTENT)
    server.announced["/set.bin"] = len(CONTENT) + 1000
    assert f"{len(CONTENT)} bytes read, 1000 more expected" in message(lambda: download(remote, tmp_path / "to"))
    server.announced.clear()
    server.files["/set.bin"] = CONTENT[:-1] + b"!"
    told = message(lambda: download(remote, tmp_path / "to"))
    assert remote.sha256 in told
    assert remote.addresses[0] in told
    assert _left_in(tmp_path / "to") == []
    (tmp_path / "to" / "set.bin").write_bytes(b"good")
    message(lambda: download(remote, tmp_path / "to"))
    assert (tmp_path / "to" / "set.bin").read_bytes() == b"good"


def test_the_second_address_is_tried_when_the_first_fails(server, tmp_path):
    remote = server.offer("set.bin", CONTENT)
    mirrored = RemoteFile(remote.name, remote.sha256, (f"{server.address}/gone", *remote.addresses))
    assert download(mirrored, tmp_path).read_bytes() == CONTENT
    assert server.requests == ["/gone", "/set.bin"]


def test_every_address_that_failed_and_a_data_folder_that_cannot_be_made_are_told(server, tmp_path, message):
    closed = "http://127.0.0.1:9/set.bin"  # the discard port, where nothing listens
    told = message(lambda: download(RemoteFile("set.bin", "0" * 64, (f"{server.address}/gone", closed)), tmp_path))
    assert "/gone: 404 Client Error" in told
    assert f"{closed}: " in told
    (tmp_path / "file").touch()
    told = message(lambda: download(server.offer("set.bin", CONTENT), tmp_path / "file" / "folder"))
    assert f"cannot write {tmp_path / 'file' / 'folder' / 'set.bin'}" in told


@pytest.mark.parametrize("ending", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()], ids=repr)
def test_a_full_disk_and_an_interrupt_leave_nothing_half_written(server, tmp_path, monkeypatch, ending):
    def broken(downloader, address, output, *_, **__):
        Path(output).write_bytes(CONTENT[:1000])  # the first piece still fits
        raise ending

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", broken)
    with pytest.raises((data.DataError, KeyboardInterrupt)) as raised:
        download(server.offer("set.bin", CONTENT), tmp_path / "to")
    if isinstance(ending, OSError):
        assert f"cannot write {tmp_path / 'to' / 'set.bin'}: No space left on device" in str(raised.value)
        assert "REVGN_DATA" in str(raised.value)
    assert _left_in(tmp_path / "to") == []
