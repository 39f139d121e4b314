from pathlib import Path

import pytest
import torch

from revgn_lab import data

numpy = pytest.importorskip("numpy")
pandas = pytest.importorskip("pandas", reason="tables are read with pandas")

ROWS = 60


@pytest.fixture
def frame():
    """Numbers of several kinds, and targets of several kinds."""
    random = numpy.random.default_rng(0)
    return pandas.DataFrame(
        {
            "age": random.integers(18, 90, ROWS),
            "height": random.normal(170.0, 10.0, ROWS),
            "member": random.random(ROWS) < 0.5,
            "price": random.normal(1e6, 1e4, ROWS),
            "label": numpy.array(["red", "green", "blue"])[numpy.arange(ROWS) % 3],
            "grade": numpy.arange(ROWS) % 4 + 3,
        }
    )


def _write(frame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="Parquet files are read with pyarrow")
        frame.to_parquet(path, index=False)
    else:
        numpy.savez(path, **{name: frame[name].to_numpy() for name in frame.columns})
    return path


def test_a_path_may_be_a_string(frame, tmp_path):
    path = _write(frame.drop(columns="label"), tmp_path / "people.CSV".lower())
    assert data.load(str(path), target="price").in_features == 4


def test_floats_are_regression_in_units_of_the_training_part(frame, tmp_path):
    loaded = data.load(_write(frame.drop(columns="label"), tmp_path / "t.csv"), target="price", dtype=torch.float64)
    assert loaded.out_features == 1
    assert loaded.targets.shape == (48, 1)
    assert loaded.test_targets.shape == (12, 1)
    assert abs(loaded.targets.mean()) < 1e-12
    assert abs(loaded.targets.std(correction=0) - 1) < 1e-12
    back = torch.cat([loaded.in_original_units(loaded.targets), loaded.in_original_units(loaded.test_targets)])
    assert sorted(back.flatten().tolist()) == pytest.approx(sorted(frame["price"]), rel=1e-12)


def test_inputs_are_standardised_by_column_with_the_training_part(frame, tmp_path):
    loaded = data.load(_write(frame.drop(columns="label"), tmp_path / "t.csv"), target="price", dtype=torch.float64)
    torch.testing.assert_close(loaded.inputs.mean(dim=0), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(loaded.inputs.std(dim=0, correction=0), torch.ones(4, dtype=torch.float64))
    assert (loaded.test_inputs.mean(dim=0).abs() > 1e-3).all()


def test_rows_keep_their_targets(tmp_path):
    values = numpy.random.default_rng(1).normal(size=ROWS)
    loaded = data.load(
        _write(pandas.DataFrame({"x": values, "y": 3 * values + 2}), tmp_path / "t.csv"),
        target="y",
        dtype=torch.float64,
    )
    torch.testing.assert_close(
        loaded.inputs, loaded.targets
    )  # after standardising, a line through the origin of slope 1
    torch.testing.assert_close(loaded.test_inputs, loaded.test_targets)


def test_text_is_classes_in_alphabetical_order(frame, tmp_path):
    loaded = data.load(_write(frame, tmp_path / "t.csv"), target="label")
    assert loaded.classes == ("blue", "green", "red")
    assert loaded.num_classes == loaded.out_features == 3
    assert loaded.targets.dtype == torch.int64
    assert loaded.targets.bincount().tolist() == [16, 16, 16]
    assert loaded.test_targets.bincount().tolist() == [4, 4, 4]
    assert loaded.target_mean is None


@pytest.mark.parametrize(("target", "classes"), [("grade", ("3", "4", "5", "6")), ("member", ("False", "True"))])
def test_integers_and_booleans_are_classes_numbered_from_zero(frame, target, classes, tmp_path):
    loaded = data.load(_write(frame.drop(columns="label"), tmp_path / "t.parquet"), target=target)
    assert loaded.classes == classes
    assert loaded.targets.unique().tolist() == list(range(len(classes)))


def test_the_task_overrides_the_type(frame, tmp_path):
    path = _write(frame.drop(columns="label"), tmp_path / "t.csv")
    assert data.load(path, target="age", task="regression").num_classes is None
    assert data.load(path, target="grade", task="regression").targets.dtype == torch.float32


def test_an_unknown_task_is_answered_with_the_nearest(frame, tmp_path, message):
    path = _write(frame.drop(columns="label"), tmp_path / "t.csv")
    assert "did you mean 'regression'" in message(lambda: data.load(path, target="age", task="regress"))


def test_a_missing_target_column_is_answered_with_the_nearest(frame, tmp_path, message):
    told = message(lambda: data.load(_write(frame, tmp_path / "t.csv"), target="Pricee"))
    assert "unknown target column 'Pricee'" in told
    assert "did you mean 'price'" in told


def test_a_table_without_a_target_is_answered_with_its_columns(frame, tmp_path, message):
    told = message(lambda: data.load(_write(frame, tmp_path / "t.csv")))
    assert "a table needs target" in told
    assert "age, height, member, price, label, grade" in told


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("column", ["price"])
@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_rows_with_nan_or_infinity_are_told_by_column_and_row(frame, column, suffix, bad, tmp_path, message):
    frame.loc[[4, 9], column] = bad
    path = _write(frame.drop(columns="label"), tmp_path / f"t{suffix}")
    told = message(lambda: data.load(path, target="price"))
    assert f"target {column!r} is empty, NaN or infinite in 2 row(s), the first in data row 5" in told


def test_gaps_in_a_text_target_are_told(frame, tmp_path, message):
    frame.loc[2, "label"] = None
    told = message(lambda: data.load(_write(frame, tmp_path / "t.csv"), target="label"))
    assert "target 'label' is empty, NaN or infinite in 1 row(s), the first in data row 3" in told


def test_a_constant_input_column_becomes_zero(frame, tmp_path):
    path = _write(frame.drop(columns="label").assign(age=0.1), tmp_path / "t.csv")  # 0.1: its mean is not exactly 0.1
    loaded = data.load(path, target="price")
    assert loaded.inputs[:, 0].abs().max() < 1e-12
    assert loaded.inputs.isfinite().all()


@pytest.mark.parametrize("value", [1.5, "same"])
def test_a_constant_target_is_refused(frame, value, tmp_path, message):
    path = _write(frame.drop(columns="label").assign(y=value), tmp_path / "t.csv")
    assert "target column 'y' holds one and the same value" in message(lambda: data.load(path, target="y"))


def test_a_large_offset_survives_float32(tmp_path):
    seconds = 1.7e9 + numpy.arange(ROWS, dtype="float64")  # one second is less than float32 resolves there
    path = _write(
        pandas.DataFrame({"time": seconds, "y": numpy.random.default_rng(0).normal(size=ROWS)}), tmp_path / "t.csv"
    )
    assert data.load(path, target="y").inputs.unique().numel() == 48


def test_matrices_in_npz_are_inputs_and_targets_of_several_columns(tmp_path):
    random = numpy.random.default_rng(0)
    numpy.savez(
        tmp_path / "t.npz", x=random.normal(size=(ROWS, 3)), z=random.normal(size=ROWS), y=random.normal(size=(ROWS, 2))
    )
    loaded = data.load(tmp_path / "t.npz", target="y")
    assert (loaded.in_features, loaded.out_features) == (4, 2)
    assert loaded.in_original_units(loaded.targets).shape == (48, 2)


def test_classes_in_two_columns_are_refused(tmp_path, message):
    numpy.savez(tmp_path / "t.npz", x=numpy.zeros((9, 2)), y=numpy.arange(18).reshape(9, 2))
    call = lambda: data.load(tmp_path / "t.npz", target="y", task="classification")  # noqa: E731
    assert "target 'y' has 2 columns; classes must be one, of numbers or names" in message(call)


def test_pickled_objects_in_npz_are_refused(tmp_path, message):
    numpy.savez(tmp_path / "t.npz", x=numpy.array([{}, {}], dtype=object), y=numpy.ones(2))
    assert "not a readable npz file" in message(lambda: data.load(tmp_path / "t.npz", target="y"))


def test_a_table_of_the_target_alone_is_refused(frame, tmp_path, message):
    path = _write(frame[["price"]], tmp_path / "t.csv")
    assert "no column tells rows apart" in message(lambda: data.load(path, target="price"))


def test_too_few_rows_for_a_test_part_are_refused(tmp_path, message):
    path = _write(pandas.DataFrame({"x": [1.0, 2.0], "y": [0.5, 0.7]}), tmp_path / "t.csv")
    assert "2 rows are too few" in message(lambda: data.load(path, target="y"))


def test_rows_of_a_table_are_a_subset_of_its_training_part(frame, tmp_path):
    path = _write(frame.drop(columns="label"), tmp_path / "t.csv")
    whole, part = (data.load(path, target="price", rows=rows) for rows in (None, 10))
    assert part.inputs.shape == (10, 4)
    assert {tuple(row) for row in part.inputs.tolist()} <= {tuple(row) for row in whole.inputs.tolist()}
    assert torch.equal(part.test_inputs, whole.test_inputs)


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan", "N/A"])
def test_a_word_for_nothing_is_a_class_among_words_and_a_gap_among_numbers(word, tmp_path, message):
    path = tmp_path / "t.csv"
    path.write_text("x,c\n" + "\n".join(f"{row / 7},{(word, 'DE', 'US')[row % 3]}" for row in range(ROWS)))
    assert word in data.load(path, target="c").classes
    path.write_text("x,c\n" + "\n".join(f"{row / 7},{(word, 1.5, 2.5)[row % 3]}" for row in range(ROWS)))
    assert "target 'c' is empty, NaN or infinite in 20 row(s)" in message(lambda: data.load(path, target="c"))


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1.0, 1e160, 1e300])
def test_columns_and_targets_of_any_scale_are_standardised(scale, tmp_path):
    x, y = numpy.random.default_rng(0).normal(size=(2, ROWS)) + 0.5
    numpy.savez(tmp_path / "t.npz", x=scale * x, y=scale * y)
    scaled = data.load(tmp_path / "t.npz", target="y", dtype=torch.float64)
    numpy.savez(tmp_path / "t.npz", x=x, y=y)
    plain = data.load(tmp_path / "t.npz", target="y", dtype=torch.float64)
    torch.testing.assert_close(scaled.inputs, plain.inputs)
    torch.testing.assert_close(scaled.targets, plain.targets)
    torch.testing.assert_close(scaled.in_original_units(scaled.targets) / scale, plain.in_original_units(plain.targets))


def test_a_constant_column_of_large_integers_becomes_zero(tmp_path):
    constant = numpy.full(ROWS, 1_700_000_000_123_456_789)
    numpy.savez(tmp_path / "t.npz", a=numpy.arange(ROWS), k=constant, y=numpy.arange(ROWS) / 7)
    assert not data.load(tmp_path / "t.npz", target="y").inputs[:, 1].any()
