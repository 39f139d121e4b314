"""Files that are damaged in one byte: what is read is what was written, or is refused in a line; data stay valid."""

import gzip
import io

import numpy as np
import pandas as pd
import pytest
import torch

from damage import damaged
from revgn.estimators import GaussNewtonRegressor, load, save
from revgn_lab.data import DataError
from revgn_lab.data import load as load_data
from revgn_lab.data.sources.idx import read_idx
from revgn_lab.data.tabular.reading import read_table
from revgn_lab.errors import FolderError, RunError
from revgn_lab.models import model_folder
from revgn_lab.models.training import Settings, train_table
from revgn_lab.report.records import Record, read_record
from revgn_lab.runs.folders import CHECKPOINT, CONFIG, METRICS, RESULTS
from revgn_lab.runs.run import run
from revgn_lab.runs.training.checkpoints import read_checkpoint
from revgn_lab.settings.parsing import parse
from revgn_lab.studies.rows import Row, read_rows, write_rows
from tiny_run import TINY

PLACES = [pytest.param((4, 2), id="some"), pytest.param((100, 60), id="many", marks=pytest.mark.nightly)]
places = pytest.mark.parametrize("places", PLACES)
ROWS = 40


def read_or_refused(path, places, read, kind):
    """What `read(path)` gives for each damaged copy of the file, which it leaves alone; None where it was refused."""
    whole = path.read_bytes()
    for name, content in damaged(whole, places[0], head=places[1]):
        path.write_bytes(content)
        try:
            yield name, read(path)
        except kind as error:
            yield name, one_line(error, name)
        assert path.read_bytes() == content
    path.write_bytes(whole)


def one_line(error, name):
    assert str(error), name
    assert "\n" not in str(error), name


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    x = pd.DataFrame({"a": random.normal(size=ROWS).round(3), "n": random.integers(0, 9, ROWS)})
    x["colour"] = random.choice(["red", "green"], ROWS)
    x["y"] = (x["a"] * x["n"]).round(3)
    return x


def write_npz(frame, path):
    np.savez_compressed(path, **{name: frame[name].to_numpy() for name in ("a", "n", "y")})


WRITE = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".parquet": lambda frame, path: frame.to_parquet(path),
    ".npz": write_npz,
}


@places
@pytest.mark.filterwarnings("ignore")  # of columns that are left out, which the damage has made
@pytest.mark.parametrize("suffix", WRITE)
def test_a_table_is_refused_in_a_line_or_its_numbers_are_finite(frame, tmp_path, suffix, places):
    path = tmp_path / f"table{suffix}"
    WRITE[suffix](frame, path)
    for name, found in read_or_refused(path, places, lambda path: load_data(path, target="y"), DataError):
        if found is not None:
            for tensor in (found.inputs, found.test_inputs, found.targets, found.test_targets):
                assert bool(torch.isfinite(tensor).all()), name
            assert len(found.inputs) == len(found.targets), name


def test_letters_that_are_damaged_are_found_when_the_table_is_read(frame, tmp_path):
    path = tmp_path / "table.parquet"
    frame.to_parquet(path, compression=None)
    path.write_bytes(path.read_bytes().replace(b"green", b"gr\xffen"))
    with pytest.raises(DataError, match=r"table.parquet: not a readable parquet file .*; check or replace it"):
        read_table(path)


@places
def test_images_are_those_that_were_written_or_are_refused(tmp_path, places):
    values = torch.randint(1, 255, (30, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    path = tmp_path / "images.gz"
    lengths = b"".join(length.to_bytes(4, "big") for length in values.shape)
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + lengths + bytes(values.flatten().tolist())))
    for name, found in read_or_refused(path, places, lambda path: read_idx(path, (30, 4, 5)), DataError):
        assert found is None or torch.equal(found, values), name


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("damaged") / "run"
    run(parse(TINY), folder, progress=False)
    return folder


def saved_again(checkpoint):
    file = io.BytesIO()
    torch.save(checkpoint, file)
    return file.getvalue()


@places
def test_a_checkpoint_is_the_one_that_was_written_or_is_refused(finished, places):
    path = finished / CHECKPOINT
    expected = saved_again(read_checkpoint(path))
    refused = 0
    for name, found in read_or_refused(path, places, read_checkpoint, FolderError):
        assert found is None or saved_again(found) == expected, name
        refused += found is None
    assert refused > 5


@places
@pytest.mark.parametrize("file", [CONFIG, METRICS, RESULTS])
def test_a_run_whose_record_is_damaged_is_reported_as_it_stands(finished, file, places):
    for name, found in read_or_refused(finished / file, places, lambda path: read_record(path.parent), ()):
        assert isinstance(found, Record), name
        assert "\n" not in found.reason, name


@places
def test_a_damaged_table_of_a_study_is_refused_in_a_line_or_read(tmp_path, places):
    row = Row("study", "smoke", "digits", "full batch", "Adam", 1, folder="runs/1", batch="1", threads=1)
    write_rows(tmp_path, [row])
    for name, found in read_or_refused(tmp_path / "runs.tsv", places, lambda path: read_rows(path.parent), RunError):
        assert found is None or all(isinstance(each, Row) for each in found), name


@pytest.fixture(scope="module")
def model(frame, tmp_path_factory):
    """The folder of a model, and new rows for it; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("damaged") / "model"
    folder.mkdir()
    frame.to_csv(folder.parent / "table.csv", index=False)
    table = read_table(folder.parent / "table.csv")
    model_folder.write_model(folder, train_table(table, Settings(target="y", networks=1), progress=False), table)
    return folder


def said(found):
    return (
        found.target,
        found.task,
        found.encoding,
        found.estimator.predict(np.ones((2, found.estimator.n_features_in_))),
    )


@places
@pytest.mark.parametrize("file", [name for name in model_folder.FILES if name != model_folder.CARD])
def test_a_model_is_the_one_that_was_written_or_is_refused(model, file, places):
    *expected, predicted = said(model_folder.read_model(model))
    read = model_folder.read_model
    for name, found in read_or_refused(model / file, places, lambda path: read(path.parent), FolderError):
        if found is not None:
            *others, values = said(found)
            assert others == expected, name
            np.testing.assert_array_equal(values, predicted, err_msg=name)


def test_models_and_estimators_without_checksums_are_still_read(model, tmp_path):
    (model / model_folder.CHECKSUMS).rename(tmp_path / "sums")
    *_, predicted = said(model_folder.read_model(model))
    (tmp_path / "sums").rename(model / model_folder.CHECKSUMS)
    content = (model / model_folder.WEIGHTS).read_bytes()
    old = content.replace(b"sha256", b"sha25_")  # a name that is looked for no more than none is
    assert old != content
    (tmp_path / "old.safetensors").write_bytes(old)
    found = load(tmp_path / "old.safetensors")
    np.testing.assert_array_equal(found.predict(np.ones((2, found.n_features_in_)) * 1.0), predicted)


def test_a_weight_that_differs_in_one_bit_is_refused_by_name(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 2))
    path = tmp_path / "m.safetensors"
    save(GaussNewtonRegressor(n_estimators=1, hidden_layer_sizes=3, random_state=0).fit(x, x[:, 0]), path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"m.safetensors is damaged: its content does not fit its checksum; put a copy"
    ):
        load(path)
