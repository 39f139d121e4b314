import gzip
import shutil
from pathlib import Path

import pytest
import torch

from revgn_lab import data
from revgn_lab.data.downloads import SYSTEM_ROOT
from revgn_lab.data.sources.idx import FASHION_MNIST, MNIST, read_idx

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"

fashion_mnist_installed = pytest.mark.skipif(
    not (SYSTEM_ROOT / "fashion-mnist" / IMAGES).exists(),
    reason="Fashion-MNIST is not installed; Debian has it in the package dataset-fashion-mnist",
)


def test_files_are_read_as_they_were_written(idx_source, idx_folder, idx_content):
    parts = idx_source.read([idx_folder.parent])
    assert parts.inputs.shape == (30, 20)
    assert bytes(parts.inputs.flatten().tolist()) == idx_content[IMAGES][16:]
    assert bytes(parts.targets.tolist()) == idx_content[LABELS][8:]
    assert bytes(parts.test_inputs.flatten().tolist()) == idx_content["t10k-images-idx3-ubyte.gz"][16:]
    assert bytes(parts.test_targets.tolist()) == idx_content["t10k-labels-idx1-ubyte.gz"][8:]


def test_unpacked_files_are_read_too(idx_source, idx_content, tmp_path, server):
    (tmp_path / "small").mkdir()
    for name, content in idx_content.items():
        (tmp_path / "small" / name.removesuffix(".gz")).write_bytes(content)
    assert idx_source.read([tmp_path]).inputs.shape == (30, 20)
    assert server.requests == []


def test_files_that_another_tool_left_are_found(idx_source, idx_folder, tmp_path, server):
    (tmp_path / "other" / "Small").mkdir(parents=True)
    shutil.copytree(idx_folder, tmp_path / "other" / "Small" / "raw")
    assert idx_source.read([tmp_path / "other"]).inputs.shape == (30, 20)
    assert server.requests == []


def test_images_are_standardised_by_one_mean_and_one_deviation(idx_source, idx_folder, idx_content):
    pixels = torch.tensor(list(idx_content[IMAGES][16:]), dtype=torch.float64)
    loaded = idx_source.read([idx_folder.parent]).dataset("small", rows=None, seed=0, dtype=torch.float64)
    expected = (pixels - pixels.mean()) / pixels.std(correction=0)
    torch.testing.assert_close(loaded.inputs.flatten(), expected, rtol=1e-13, atol=1e-13)


def _gzip_replaced(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content))


def test_a_file_cut_short_is_named(idx_source, idx_folder, message):
    path = idx_folder / IMAGES
    path.write_bytes(path.read_bytes()[:-20])
    told = message(lambda: idx_source.read([idx_folder.parent]))
    assert str(path) in told
    assert "cannot be read" in told
    assert "remove or replace this file" in told


def test_unpacked_content_cut_short_is_named(idx_source, idx_folder, idx_content, message):
    _gzip_replaced(idx_folder / IMAGES, idx_content[IMAGES][:-1])
    told = message(lambda: idx_source.read([idx_folder.parent]))
    assert f"{idx_folder / IMAGES}: has 615 bytes, expected 616" in told


def test_a_damaged_byte_is_noticed_by_gzip(idx_source, idx_folder, message):
    content = bytearray((idx_folder / IMAGES).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (idx_folder / IMAGES).write_bytes(content)
    assert f"{idx_folder / IMAGES}: cannot be read" in message(lambda: idx_source.read([idx_folder.parent]))


def test_another_format_is_told_by_its_first_bytes(idx_source, idx_folder, message):
    (idx_folder / LABELS).write_bytes(b"<html>not found</html>")
    told = message(lambda: idx_source.read([idx_folder.parent]))
    assert f"{idx_folder / LABELS}: not an idx file" in told
    assert "starts with 3c68746d, expected 00000801" in told


def test_an_empty_file_is_told(idx_source, idx_folder, message):
    (idx_folder / LABELS).write_bytes(b"")
    assert "starts with nothing" in message(lambda: idx_source.read([idx_folder.parent]))


def test_test_images_in_place_of_training_images_are_told_by_their_number(idx_source, idx_folder, message):
    shutil.copy(idx_folder / "t10k-images-idx3-ubyte.gz", idx_folder / IMAGES)
    assert "holds 12 x 4 x 5 values, expected 30 x 4 x 5" in message(lambda: idx_source.read([idx_folder.parent]))


def test_labels_out_of_range_are_refused(idx_source, idx_folder, idx_content, message):
    _gzip_replaced(idx_folder / LABELS, idx_content[LABELS][:-1] + b"\x07")
    assert "a label is 7, expected 0 to 2" in message(lambda: idx_source.read([idx_folder.parent]))


def test_missing_files_are_downloaded_once_into_the_first_folder(idx_source, tmp_path, server):
    roots = [tmp_path / "first", tmp_path / "second"]
    downloaded = idx_source.read(roots)
    assert sorted(server.requests) == sorted(server.files)
    assert sorted(f"/{path.name}" for path in (tmp_path / "first" / "small").iterdir()) == sorted(server.files)
    again = idx_source.read(roots)
    assert len(server.requests) == 4
    assert torch.equal(again.inputs, downloaded.inputs)


def test_only_the_missing_file_is_downloaded(idx_source, idx_folder, server):
    (idx_folder / LABELS).unlink()
    idx_source.read([idx_folder.parent])
    assert server.requests == [f"/{LABELS}"]


def test_offline_the_message_says_where_to_get_the_files_and_where_to_put_them(idx_source, tmp_path, server, message):
    server.files.clear()
    told = message(lambda: idx_source.read([tmp_path / "mine", tmp_path / "other"]))
    assert f"small: no {IMAGES} in {tmp_path / 'mine' / 'small'}, {tmp_path / 'other' / 'small'}" in told
    assert "404" in told
    assert told.endswith("Ask the author")


def test_published_sets_name_four_distinct_files_each():
    for source in (MNIST, FASHION_MNIST):
        assert len({file.sha256 for file in source.files}) == 4
        assert all(len(file.sha256) == 64 for file in source.files)
        assert all(address.endswith(file.name) for file in source.files for address in file.addresses)
    assert not {file.sha256 for file in MNIST.files} & {file.sha256 for file in FASHION_MNIST.files}


@fashion_mnist_installed
def test_fashion_mnist_is_read_whole_and_standardised():
    fashion = data.load("fashion-mnist")
    assert fashion.inputs.shape == (60_000, 784)
    assert fashion.test_inputs.shape == (10_000, 784)
    assert fashion.targets.bincount().tolist() == [6000] * 10
    assert fashion.test_targets.bincount().tolist() == [1000] * 10
    assert fashion.classes[9] == "Ankle boot"
    assert abs(fashion.inputs.double().mean()) < 1e-6
    assert abs(fashion.inputs.double().std() - 1) < 1e-4


@fashion_mnist_installed
def test_fashion_mnist_has_the_published_statistics():
    parts = FASHION_MNIST.read([SYSTEM_ROOT])
    assert round(float(parts.mean[0]) / 255, 4) == 0.2860
    assert round(float(parts.scale[0]) / 255, 4) == 0.3530


@fashion_mnist_installed
def test_rows_of_fashion_mnist_come_from_its_training_part():
    part = data.load("fashion-mnist", rows=1024, seed=5)
    again = data.load("fashion-mnist", rows=1024, seed=5)
    assert part.inputs.shape == (1024, 784)
    assert torch.equal(part.inputs, again.inputs)
    assert part.targets.unique().numel() == 10


@pytest.mark.parametrize("place", ["end", "middle"])
def test_a_copy_with_a_hole_is_refused(place, tmp_path):
    values = torch.randint(1, 255, (300, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    values[{"end": slice(200, 300), "middle": slice(100, 200)}[place]] = 0
    for name, content in {"images": values, "labels": values[:, 0, 0]}.items():
        header = bytes([0, 0, 8, content.ndim]) + b"".join(length.to_bytes(4, "big") for length in content.shape)
        (tmp_path / name).write_bytes(header + bytes(content.flatten().tolist()))
    first = {"end": 200, "middle": 100}[place]
    with pytest.raises(data.DataError, match=f"100 rows from {first} on are all zero, as in a broken copy"):
        read_idx(tmp_path / "images", (300, 4, 5))
    with pytest.raises(data.DataError, match=f"100 rows from {first} on"):
        read_idx(tmp_path / "labels", (300,))
