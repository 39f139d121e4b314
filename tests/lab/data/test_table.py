import re

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


def _write(frame, path):
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="Parquet files are read with pyarrow")
        frame.to_parquet(path, index=False)
    else:
        numpy.savez(path, **{name: frame[name].to_numpy() for name in frame.columns})
    return path


def test_floats_are_regression_in_units_of_the_training_part(frame, tmp_path):
    path = _write(frame.drop(columns="label"), tmp_path / "t.csv")
    loaded = data.load(str(path), target="price", dtype=torch.float64)
    assert (loaded.inputs.shape, loaded.targets.shape, loaded.test_targets.shape) == ((48, 4), (48, 1), (12, 1))
    assert loaded.out_features == 1
    for values in (loaded.inputs, loaded.targets):
        assert values.mean(dim=0).abs().max() < 1e-12
        assert (values.std(dim=0, correction=0) - 1).abs().max() < 1e-12
    assert (loaded.test_inputs.mean(dim=0).abs() > 1e-3).all()
    back = torch.cat([loaded.in_original_units(loaded.targets), loaded.in_original_units(loaded.test_targets)])
    assert sorted(back.flatten().tolist()) == pytest.approx(sorted(frame["price"]), rel=1e-12)


def test_rows_keep_their_targets(tmp_path):
    values = numpy.random.default_rng(1).normal(size=ROWS)
    path = _write(pandas.DataFrame({"x": values, "y": 3 * values + 2}), tmp_path / "t.csv")
    loaded = data.load(path, target="y", dtype=torch.float64)
    # After standardising, a line through the origin of slope 1.
    torch.testing.assert_close(loaded.inputs, loaded.targets)
    torch.testing.assert_close(loaded.test_inputs, loaded.test_targets)


@pytest.mark.parametrize(
    ("target", "classes", "suffix"),
    [
        ("label", ("blue", "green", "red"), "csv"),
        ("grade", ("3", "4", "5", "6"), "parquet"),
        ("member", ("False", "True"), "parquet"),
    ],
)
def test_words_integers_and_booleans_are_classes_numbered_in_their_order(frame, target, classes, suffix, tmp_path):
    loaded = data.load(_write(frame, tmp_path / f"t.{suffix}"), target=target)
    assert loaded.classes == classes
    assert loaded.num_classes == loaded.out_features == len(classes)
    assert (loaded.targets.dtype, loaded.target_mean) == (torch.int64, None)
    codes = {name: code for code, name in enumerate(classes)}
    counts = torch.tensor([codes[str(value)] for value in frame[target]]).bincount()
    assert torch.equal(loaded.targets.bincount() + loaded.test_targets.bincount(), counts)
    assert ((loaded.test_targets.bincount() - counts / 5).abs() <= 0.5).all()


def test_the_task_overrides_the_type(frame, tmp_path):
    path = _write(frame.drop(columns="label"), tmp_path / "t.csv")
    assert data.load(path, target="age", task="regression").num_classes is None
    assert data.load(path, target="grade", task="regression").targets.dtype == torch.float32


def with_gaps(frame, column, rows, gap=float("nan")):
    return frame.assign(**{column: frame[column].where(~frame.index.isin(rows), gap)})


EMPTY = "is empty, NaN or infinite in"
REFUSED = {  # suffix, the table made of the frame, what is asked for, and what is said
    "task": ("csv", lambda f: f, {"target": "age", "task": "regress"}, "did you mean 'regression'"),
    "target": ("csv", lambda f: f, {"target": "Pricee"}, "unknown target column 'Pricee'; did you mean 'price'"),
    "no target": ("csv", lambda f: f, {}, "a table needs target, .* one of age, height, member, price, label, grade"),
    "NaN": (
        *("npz", lambda f: with_gaps(f.drop(columns="label"), "price", [4, 9]), {"target": "price"}),
        rf"target 'price' {EMPTY} 2 row\(s\), the first in data row 5",
    ),
    "infinite": ("csv", lambda f: with_gaps(f, "price", [4], float("inf")), {"target": "price"}, f"{EMPTY} 1 .* row 5"),
    "no word": ("csv", lambda f: with_gaps(f, "label", [2]), {"target": "label"}, f"target 'label' {EMPTY} 1 .* row 3"),
    "one number": ("csv", lambda f: f.assign(y=1.5), {"target": "y"}, "column 'y' holds one and the same value"),
    "one word": ("csv", lambda f: f.assign(y="same"), {"target": "y"}, "column 'y' holds one and the same value"),
    "alone": ("csv", lambda f: f[["price"]], {"target": "price"}, "no column tells rows apart"),
    "few rows": ("csv", lambda f: f[["age", "price"]][:2], {"target": "price"}, "2 rows are too few"),
}


@pytest.mark.parametrize(("suffix", "made", "asked", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_learnt_from_is_refused_with_the_place(frame, suffix, made, asked, said, tmp_path, message):
    path = _write(made(frame), tmp_path / f"t.{suffix}")
    assert re.search(said, message(lambda: data.load(path, **asked)))


def test_a_large_offset_survives_float32(tmp_path):
    seconds = 1.7e9 + numpy.arange(ROWS, dtype="float64")  # one second is less than float32 resolves there
    values = numpy.random.default_rng(0).normal(size=ROWS)
    path = _write(pandas.DataFrame({"time": seconds, "y": values}), tmp_path / "t.csv")
    assert data.load(path, target="y").inputs.unique().numel() == 48


def test_matrices_in_npz_are_inputs_and_targets_of_several_columns(tmp_path, message):
    x, z, y = (numpy.random.default_rng(0).normal(size=(ROWS, *shape)) for shape in ((3,), (), (2,)))
    path = tmp_path / "t.npz"
    numpy.savez(path, x=x, z=z, y=y)
    loaded = data.load(path, target="y")
    assert (loaded.in_features, loaded.out_features) == (4, 2)
    assert loaded.in_original_units(loaded.targets).shape == (48, 2)
    said = "target 'y' has 2 columns; classes must be one, of numbers or names"
    assert said in message(lambda: data.load(path, target="y", task="classification"))
    numpy.savez(path, x=numpy.array([{}, {}], dtype=object), y=numpy.ones(2))  # pickled objects
    assert "not a readable npz file" in message(lambda: data.load(path, target="y"))


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


@pytest.mark.parametrize("value", [0.1, 1_700_000_000_123_456_789])  # whose means by rounded sums are others
def test_a_constant_column_becomes_zero(value, tmp_path):
    numpy.savez(tmp_path / "t.npz", a=numpy.arange(ROWS), k=numpy.full(ROWS, value), y=numpy.arange(ROWS) / 7)
    assert not data.load(tmp_path / "t.npz", target="y").inputs[:, 1].any()
