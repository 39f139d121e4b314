import io
import os
import pickle
import tarfile

import pytest
import torch

from revgn_lab.data.downloads import RemoteFile
from revgn_lab.data.sources.cifar import CIFAR10, CifarSource

ROWS = 6  # images in a batch of these tests
BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
NOWHERE = RemoteFile("cifar-10-binary.tar.gz", "0" * 64, ())


@pytest.fixture
def images():
    """By batch, one row an image: its label and its pixels."""
    generator = torch.Generator().manual_seed(0)

    def batch():
        pixels = torch.randint(256, (ROWS, 3072), generator=generator, dtype=torch.uint8)
        labels = torch.randint(10, (ROWS, 1), generator=generator, dtype=torch.uint8)
        return torch.cat([labels, pixels], dim=1)

    return {name: batch() for name in BATCHES}


def _bytes(values):
    return bytes(values.flatten().tolist())


def _python_2_pickle(batch):
    """A batch as Python 2 and the numpy of its day pickled it, opcode by opcode, after pickletools' description."""

    def short(text):
        return b"U" + bytes([len(text)]) + text

    def number(value):
        return b"J" + value.to_bytes(4, "little", signed=True)

    pixels, labels = _bytes(batch[:, 1:]), batch[:, 0].tolist()
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"(cnumpy\nndarray\n" + b"(K\x00t" + short(b"b") + b"tR"
    kind = b"cnumpy\ndtype\n(" + short(b"u1") + b"K\x00K\x01tR" + b"(K\x03" + short(b"|") + b"NNN" + 2 * number(-1)
    state = b"(K\x01(" + number(ROWS) + number(3072) + b"t" + kind + b"K\x00tb\x89T" + len(pixels).to_bytes(4, "little")
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + short(b"data") + array + state + pixels + b"tb" + short(b"labels") + listed + b"u."


def _python_3_pickle(batch):
    numpy = pytest.importorskip("numpy")
    pixels = numpy.frombuffer(_bytes(batch[:, 1:]), dtype="uint8").reshape(ROWS, 3072)
    return pickle.dumps({b"data": pixels.copy(), b"labels": batch[:, 0].tolist()}, protocol=4)


FORMS = {
    "cifar-10-batches-bin": (".bin", _bytes),
    "cifar-10-batches-py": ("", _python_2_pickle),
    "cifar-10-batches-py of today": ("", _python_3_pickle),
}


def _unpacked(root, form, images):
    suffix, encode = FORMS[form]
    folder = root / form.removesuffix(" of today")
    folder.mkdir(parents=True)
    for name, batch in images.items():
        (folder / f"{name}{suffix}").write_bytes(encode(batch))
    return folder


def _packed(folder):
    """Pack an unpacked folder under the name that its archive is published by, and remove it."""
    archive = folder.with_name("cifar-10-python.tar.gz" if folder.name.endswith("py") else "cifar-10-binary.tar.gz")
    with tarfile.open(archive, "w:gz") as members:
        members.add(folder, folder.name)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    return archive


def _check_read(root, images):
    parts = CifarSource(NOWHERE, rows=ROWS).read([root])
    training = torch.cat([images[name] for name in BATCHES[:5]])
    assert torch.equal(parts.inputs, training[:, 1:])
    assert torch.equal(parts.targets, training[:, 0].long())
    assert torch.equal(parts.test_inputs, images["test_batch"][:, 1:])
    assert torch.equal(parts.test_targets, images["test_batch"][:, 0].long())


@pytest.mark.parametrize("packed", [False, True], ids=["unpacked", "packed"])
@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_is_read(form, packed, images, tmp_path):
    folder = _unpacked(tmp_path / "cifar10" if packed else tmp_path, form, images)
    if packed:
        _packed(folder)
    _check_read(tmp_path, images)


def test_each_channel_is_standardised_by_its_own_statistics(images, tmp_path):
    _unpacked(tmp_path, "cifar-10-batches-bin", images)
    loaded = CifarSource(NOWHERE, rows=ROWS).read([tmp_path]).dataset("c", rows=None, seed=0, dtype=torch.float64)
    pixels = torch.cat([images[name][:, 1:] for name in BATCHES[:5]]).double().reshape(-1, 3, 1024)
    mean, scale = pixels.mean(dim=(0, 2), keepdim=True), pixels.std(dim=(0, 2), keepdim=True, correction=0)
    torch.testing.assert_close(loaded.inputs, ((pixels - mean) / scale).flatten(1), rtol=1e-12, atol=1e-12)


def test_a_missing_archive_is_downloaded_and_offline_it_is_said_where_to_get_and_to_put_it(
    images, tmp_path, server, message
):
    archive = _packed(_unpacked(tmp_path / "published", "cifar-10-batches-bin", images))
    source = CifarSource(server.offer("cifar-10-binary.tar.gz", archive.read_bytes()), rows=ROWS)
    for _ in range(2):
        assert source.read([tmp_path / "mine"]).inputs.shape == (30, 3072)
    assert server.requests == ["/cifar-10-binary.tar.gz"]
    told = message(lambda: CifarSource(NOWHERE).read([tmp_path / "other"]))
    for text in ("cifar-10-python.tar.gz", f"{tmp_path}/other/cifar10", "https://www.cs.toronto.edu/~kriz/cifar.html"):
        assert text in told


class _Trap:
    """What an attacker would pickle: running a command when it is read."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(images, tmp_path, message):
    folder = _unpacked(tmp_path, "cifar-10-batches-py", images)
    (folder / "data_batch_2").write_bytes(pickle.dumps({b"data": _Trap(tmp_path / "ran"), b"labels": []}))
    told = message(lambda: CifarSource(NOWHERE, rows=ROWS).read([tmp_path]))
    assert "data_batch_2 is not a CIFAR-10 batch (it asks for posix.mkdir" in told
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("form", ["cifar-10-batches-bin", "cifar-10-batches-py"])
def test_a_batch_cut_short_is_named(form, images, tmp_path, message):
    folder = _unpacked(tmp_path, form, images)
    batch = folder / f"data_batch_3{FORMS[form][0]}"
    batch.write_bytes(batch.read_bytes()[:-100])
    told = message(lambda: CifarSource(NOWHERE, ROWS).read([tmp_path]))
    assert f"{folder}: {batch.name} is not a CIFAR-10 batch" in told


def test_too_few_images_and_labels_out_of_range_are_refused(images, tmp_path, message):
    _unpacked(tmp_path / "few", "cifar-10-batches-bin", {**images, "data_batch_1": images["data_batch_1"][:4]})
    images["test_batch"][0, 0] = 10
    _unpacked(tmp_path / "range", "cifar-10-batches-bin", images)
    for name, said in (("few", "has 4 images and 4 labels, expected 6"), ("range", "expected 0 to 9")):
        assert said in message(lambda name=name: CifarSource(NOWHERE, ROWS).read([tmp_path / name]))


def test_a_missing_batch_and_an_archive_cut_short_are_named(images, tmp_path, message):
    folder = _unpacked(tmp_path, "cifar-10-batches-bin", images)
    (folder / "data_batch_4.bin").unlink()
    read = lambda: CifarSource(NOWHERE, ROWS).read([tmp_path])  # noqa: E731
    assert f"{folder / 'data_batch_4.bin'}: cannot be read" in message(read)
    archive = _packed(folder)
    assert f"{archive}: has no data_batch_4.bin" in message(read)
    archive.write_bytes(archive.read_bytes()[:-5000])
    assert f"{archive}: is truncated or not a tar.gz archive" in message(read)


def test_an_archive_writes_nothing_outside_itself(images, tmp_path):
    folder = _unpacked(tmp_path / "made", "cifar-10-batches-bin", images)
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as members:
        members.add(folder, folder.name)
        evil = tarfile.TarInfo("../escaped")
        evil.size = 4
        members.addfile(evil, io.BytesIO(b"evil"))
    before = sorted(tmp_path.rglob("*"))
    _check_read(tmp_path, images)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_published_archive_is_the_one_without_pickles():
    assert (CIFAR10.archive.name, len(CIFAR10.archive.sha256)) == ("cifar-10-binary.tar.gz", 64)
    assert CIFAR10.rows == 10_000
