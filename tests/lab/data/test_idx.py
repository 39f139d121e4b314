import gzip
import shutil

import pytest
import torch

from revgn_lab import data
from revgn_lab.data.downloads import SYSTEM_ROOT
from revgn_lab.data.sources.idx import FASHION_MNIST, MNIST, read_idx

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"

fashion_mnist_installed = pytest.mark.skipif(
    not (SYSTEM_ROOT / "fashion-mnist" / IMAGES).exists(),
    reason="Fashion-MNIST is not installed; Debian has it in the package dataset-fashion-mnist",
)


@pytest.mark.parametrize("place", ["small", "Small/raw"])  # ours, and another tool's
@pytest.mark.parametrize("packed", [True, False])
def test_files_are_read_as_they_were_written(idx_source, idx_content, tmp_path, server, place, packed):
    (tmp_path / place).mkdir(parents=True)
    for name, content in idx_content.items():
        file = (name, gzip.compress(content)) if packed else (name.removesuffix(".gz"), content)
        (tmp_path / place / file[0]).write_bytes(file[1])
    parts = idx_source.read([tmp_path])
    assert server.requests == []
    assert (parts.inputs.shape, parts.test_inputs.shape) == ((30, 20), (12, 20))
    assert bytes(parts.inputs.flatten().tolist()) == idx_content[IMAGES][16:]
    assert bytes(parts.targets.tolist()) == idx_content[LABELS][8:]
    assert bytes(parts.test_inputs.flatten().tolist()) == idx_content[TEST_IMAGES][16:]
    assert bytes(parts.test_targets.tolist()) == idx_content[TEST_LABELS][8:]


def test_images_are_standardised_by_one_mean_and_one_deviation(idx_source, idx_folder, idx_content):
    pixels = torch.tensor(list(idx_content[IMAGES][16:]), dtype=torch.float64)
    loaded = idx_source.read([idx_folder.parent]).dataset("small", rows=None, seed=0, dtype=torch.float64)
    expected = (pixels - pixels.mean()) / pixels.std(correction=0)
    torch.testing.assert_close(loaded.inputs.flatten(), expected, rtol=1e-13, atol=1e-13)


def with_wrong_byte(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


UNREADABLE = ": cannot be read .*; remove or replace this file"
DAMAGE = {  # the file, its new content made of the unpacked and packed ones, what is said of it
    "cut short": (IMAGES, lambda plain, packed: packed[:-20], UNREADABLE),
    "a damaged byte": (IMAGES, lambda plain, packed: with_wrong_byte(packed), UNREADABLE),
    "content cut short": (IMAGES, lambda plain, packed: plain[:-1], ": has 615 bytes, expected 616"),
    "another format": (LABELS, lambda plain, packed: b"<html>", ": not an .* starts with 3c68746d, expected 00000801"),
    "empty": (LABELS, lambda plain, packed: b"", "starts with nothing"),
    "out of range": (LABELS, lambda plain, packed: plain[:-1] + b"\x07", ": a label is 7, expected 0 to 2"),
}


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_named_with_what_is_wrong(idx_source, idx_folder, name, damage, said):
    path = idx_folder / name
    path.write_bytes(damage(gzip.decompress(path.read_bytes()), path.read_bytes()))
    with pytest.raises(data.DataError, match=f"{path}.*{said}" if said[0] == ":" else said) as raised:
        idx_source.read([idx_folder.parent])
    assert "\n" not in str(raised.value)


def test_test_images_in_place_of_training_images_are_told_by_their_number(idx_source, idx_folder, message):
    shutil.copy(idx_folder / TEST_IMAGES, idx_folder / IMAGES)
    assert "holds 12 x 4 x 5 values, expected 30 x 4 x 5" in message(lambda: idx_source.read([idx_folder.parent]))


def test_missing_files_are_downloaded_once_into_the_first_folder(idx_source, tmp_path, server):
    roots = [tmp_path / "first", tmp_path / "second"]
    downloaded = idx_source.read(roots)
    assert sorted(server.requests) == sorted(server.files)
    assert sorted(f"/{path.name}" for path in (tmp_path / "first" / "small").iterdir()) == sorted(server.files)
    assert torch.equal(idx_source.read(roots).inputs, downloaded.inputs)
    assert len(server.requests) == 4
    (tmp_path / "first" / "small" / LABELS).unlink()
    idx_source.read(roots)
    assert server.requests[4:] == [f"/{LABELS}"]


def test_offline_the_message_says_where_to_get_the_files_and_where_to_put_them(idx_source, tmp_path, server, message):
    server.files.clear()
    told = message(lambda: idx_source.read([tmp_path / "mine", tmp_path / "other"]))
    assert f"small: no {IMAGES} in {tmp_path / 'mine' / 'small'}, {tmp_path / 'other' / 'small'}" in told
    assert "404" in told
    assert told.endswith("Ask the author")


def test_published_sets_name_distinct_files():
    files = [*MNIST.files, *FASHION_MNIST.files]
    assert len({file.sha256 for file in files}) == 8
    assert all(len(file.sha256) == 64 for file in files)
    assert all(address.endswith(file.name) for file in files for address in file.addresses)
    assert [file.name for file in MNIST.files] == [IMAGES, LABELS, TEST_IMAGES, TEST_LABELS]


@fashion_mnist_installed
def test_fashion_mnist_is_read_whole_and_standardised_with_the_published_statistics():
    fashion = data.load("fashion-mnist")
    assert (fashion.inputs.shape, fashion.test_inputs.shape) == ((60_000, 784), (10_000, 784))
    assert fashion.targets.bincount().tolist() == [6000] * 10
    assert fashion.test_targets.bincount().tolist() == [1000] * 10
    assert fashion.classes[9] == "Ankle boot"
    assert abs(fashion.inputs.double().mean()) < 1e-6
    assert abs(fashion.inputs.double().std() - 1) < 1e-4
    parts = FASHION_MNIST.read([SYSTEM_ROOT])
    assert [round(float(each[0]) / 255, 4) for each in (parts.mean, parts.scale)] == [0.2860, 0.3530]
    part, again = (data.load("fashion-mnist", rows=1024, seed=5) for _ in range(2))
    assert torch.equal(part.inputs, again.inputs)
    assert part.inputs.shape == (1024, 784)
    assert part.targets.unique().numel() == 10


@pytest.mark.parametrize("first", [200, 100], ids=["end", "middle"])
def test_a_copy_with_a_hole_is_refused(first, tmp_path, idx_bytes):
    values = torch.randint(1, 255, (300, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    values[first : first + 100] = 0
    for content in (values, values[:, 0, 0]):
        (tmp_path / "file").write_bytes(idx_bytes(content))
        with pytest.raises(data.DataError, match=f"100 rows from {first} on are all zero, as in a broken copy"):
            read_idx(tmp_path / "file", content.shape)
