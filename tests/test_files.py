import errno
import os
from pathlib import Path

import pytest

from revgn_lab.files import write_atomically


@pytest.mark.parametrize("content", ["Größe λ\nzwei\n", b"\x00\xff\r\n"], ids=["text", "bytes"])
def test_written_file_holds_exactly_the_content(tmp_path, content):
    path = tmp_path / "new" / "folder" / "result.txt"
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(path.parent) == ["result.txt"]


def test_written_file_can_be_read_by_others(tmp_path):
    path = tmp_path / "result.txt"
    write_atomically(path, "shared")
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "result.txt"
    write_atomically(path, "old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner = os if failing == "fsync" else Path
    monkeypatch.setattr(owner, failing, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "result.txt", "new")
    assert os.listdir(tmp_path) == []


def test_folder_that_is_a_file_is_an_os_error(tmp_path):
    (tmp_path / "runs").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="runs"):
        write_atomically(tmp_path / "runs" / "result.txt", "new")
