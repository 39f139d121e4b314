"""A table of the user's own, CSV, Parquet or NPZ: numeric columns as inputs and one named column as target."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from revgn.naming import unknown_name
from revgn_lab.data.errors import DataError, require
from revgn_lab.data.parts import Parts, column_statistics, regression_parts
from revgn_lab.data.splits import split

SUFFIXES = (".csv", ".parquet", ".npz")
Task = Literal["classification", "regression"]
_NUMBERS = "biuf"  # numpy's letters for booleans, integers and floats
_WORDS_FOR_NOTHING = ("na", "n/a", "#n/a", "nan", "none", "null", "-nan")
_LEAST_ROWS_PER_CLASS = 2  # on average: with fewer, a column is more likely a quantity or a row's name than a class


def read(path: Path, target: str | None, task: Task | None) -> Parts:
    """Read a table and set a fifth of its rows aside for testing, always the same ones.

    A target of floats makes it regression; integers, booleans and strings are classes, in ascending order. `task`
    overrides that. Inputs are standardised by column; a column that is constant in training becomes zero.

    Args:
        path: a file with a suffix of `SUFFIXES`. An NPZ file holds the target and the inputs as arrays of any names,
            each with one entry or one row of numbers for every row of the table.
        target: name of the target column.
        task: "classification" or "regression"; None decides by the type of the target.

    Raises:
        DataError: the file cannot be read, the target is not in it, or a value cannot be used.
    """
    columns = _read_columns(path)
    if target is None:
        raise DataError(f"{path}: a table needs target, the name of its target column, one of {', '.join(columns)}")
    if target not in columns:
        raise DataError(f"{path}: {unknown_name('target column', target, columns)}")
    if task not in (None, "classification", "regression"):
        raise DataError(unknown_name("task", task, ("classification", "regression")))
    inputs = _input_matrix(path, {name: column for name, column in columns.items() if name != target})
    _check_present(path, target, columns[target])
    if task == "regression" or (task is None and columns[target].dtype.kind == "f"):
        return _regression(path, target, inputs, columns[target])
    return _classification(path, target, inputs, columns[target], guessed=task is None)


def _regression(path: Path, target: str, inputs: Tensor, column: Any) -> Parts:
    if column.dtype.kind not in _NUMBERS:
        raise DataError(f"{path}: target column {target!r} is not numeric, as regression needs; make it numbers")
    targets = torch.from_numpy(column.astype("float64")).reshape(len(column), -1)  # (n, k)
    train, test = _split(path, torch.zeros(len(targets), dtype=torch.int64))
    if bool((targets[train].amax(dim=0) == targets[train].amin(dim=0)).any()):
        raise DataError(f"{path}: target column {target!r} holds one and the same value; name another target")
    return regression_parts(inputs[train], targets[train], inputs[test], targets[test])


def _classification(path: Path, target: str, inputs: Tensor, column: Any, *, guessed: bool) -> Parts:
    numpy = require("numpy", "to read tables")
    if column.ndim != 1:
        raise DataError(
            f"{path}: target {target!r} has shape {column.shape}; classes must be one column of numbers or names"
        )
    values, codes = numpy.unique(column.astype(str) if column.dtype.kind == "O" else column, return_inverse=True)
    if len(values) < 2:
        raise DataError(f"{path}: target column {target!r} holds one and the same value; name another target")
    if guessed and _LEAST_ROWS_PER_CLASS * len(values) > len(column):
        raise DataError(
            f"{path}: target column {target!r} has {len(values)} different values in {len(column)} rows, too many for "
            "classes; pass task='regression' for a quantity (task='classification' if these are classes indeed)"
        )
    targets = torch.from_numpy(codes).long()
    train, test = _split(path, targets)
    mean, scale = column_statistics(inputs[train])
    return Parts(
        inputs=inputs[train],
        targets=targets[train],
        test_inputs=inputs[test],
        test_targets=targets[test],
        mean=mean,
        scale=scale,
        classes=tuple(str(value) for value in values),
    )


def _split(path: Path, groups: Tensor) -> tuple[Tensor, Tensor]:
    train, test = split(groups)
    if not len(test):
        raise DataError(
            f"{path}: {len(groups)} rows are too few to set a fifth of each class aside for testing; add rows"
        )
    return train, test


def _input_matrix(path: Path, columns: Mapping[str, Any]) -> Tensor:
    """The columns side by side, (n, d) float64, after checks that each can be an input."""
    if not columns:
        raise DataError(f"{path}: has no column beside the target, expected at least one input; add some")
    words = [name for name, column in columns.items() if column.dtype.kind not in _NUMBERS]
    if words:
        raise DataError(
            f"{path}: not numeric, as every input must be: {', '.join(words)}; encode these columns or drop them"
        )
    for name, column in columns.items():
        _check_present(path, name, column)
    numpy = require("numpy", "to read tables")
    return torch.from_numpy(numpy.column_stack([column.astype("float64") for column in columns.values()]))


def _check_present(path: Path, name: str, column: Any) -> None:
    """Refuse NaN, infinite and missing values, naming the first row that has one."""
    numpy = require("numpy", "to read tables")
    if column.dtype.kind in _NUMBERS:
        absent = ~numpy.isfinite(column.reshape(len(column), -1)).all(axis=1)
    elif column.dtype.kind == "O":
        absent = require("pandas", "to read tables").isna(column)
    else:
        absent = column != column  # of what is left, only "not a time" differs from itself
    if absent.any():
        raise DataError(
            f"{path}: column {name!r} has {int(absent.sum())} empty, NaN or infinite value(s), the first in data row "
            f"{int(absent.argmax()) + 1}; fill them in or drop these rows"
        )


def _read_columns(path: Path) -> dict[str, Any]:
    """The columns by name, numpy arrays of equal length; those of an NPZ file may have two dimensions."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: unknown kind of file {path.suffix!r}, expected one of {', '.join(SUFFIXES)}; convert it"
        )
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; check the path")
    try:
        columns = _read_arrays(path) if suffix == ".npz" else _read_frame(path, suffix)
    except DataError:
        raise
    except Exception as error:  # pandas, pyarrow and numpy raise a dozen kinds of error for damaged files
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not a readable {suffix[1:]} file ({first_line}); check or replace it") from error
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise DataError(
            f"{path}: arrays differ in length ({lengths}), expected one entry a row in each; make them equal"
        )
    if not all(len(column) for column in columns.values()):
        raise DataError(f"{path}: has no rows, expected a table with at least a few; check or replace it")
    return columns


def _read_frame(path: Path, suffix: str) -> dict[str, Any]:
    pandas = require("pandas", f"to read {suffix[1:]} files")
    if suffix == ".parquet":
        require("pyarrow", "to read parquet files")
        frame = pandas.read_parquet(path)
    else:
        frame = _read_csv(pandas, path)
        nameless = [name for name in frame.columns if str(name).startswith("Unnamed: ")]
        if nameless:
            raise DataError(
                f"{path}: {len(nameless)} column(s) without a name in the first line, often row numbers that pandas "
                "wrote, which are no inputs; drop them (to_csv(index=False)) or name them"
            )
    return {str(name): _column(pandas, frame[name]) for name in frame.columns}


def _read_csv(pandas: Any, path: Path) -> Any:
    """The file as a data frame; an empty place is a missing value, and NA is one among numbers but not among words."""
    first = pandas.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
    twice = list(first[first.duplicated() & (first != "")])
    if twice:
        raise DataError(f"{path}: the first line names column {twice[0]!r} twice; rename one of them")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        try:
            # In one piece, as a column's type could differ from chunk to chunk; no column is taken for names of rows.
            read = {"low_memory": False, "index_col": False, "keep_default_na": False, "na_values": [""]}
            frame = pandas.read_csv(path, **read)
        except pandas.errors.ParserWarning as error:
            raise DataError(
                f"{path}: rows have more fields than the {len(first)} names of the first line; give each column a name"
            ) from error
    words = frame.select_dtypes(exclude=["number", "bool"])
    return frame.assign(**{name: _numbers_where_possible(pandas, column) for name, column in words.items()})


def _numbers_where_possible(pandas: Any, column: Any) -> Any:
    """A column as numbers, if every place has one, is empty or has a word for nothing."""
    nothing = column.isna() | column.astype(str).str.strip().str.lower().isin(_WORDS_FOR_NOTHING)
    numbers = pandas.to_numeric(column.mask(nothing), errors="coerce")
    return numbers if numbers.notna().any() and (numbers.notna() | nothing).all() else column


def _column(pandas: Any, series: Any) -> Any:
    """A column as an array: numbers with numpy's own types, everything else as objects."""
    values = series.to_numpy()
    if values.dtype.kind == "O" and pandas.api.types.is_numeric_dtype(series.dtype):
        return series.to_numpy(dtype="float64", na_value=float("nan"))  # pandas' integers with gaps
    return values


def _read_arrays(path: Path) -> dict[str, Any]:
    numpy = require("numpy", "to read npz files")
    # Opened here, because numpy leaves the file open when it finds it damaged. A pickle can run any code it likes.
    with path.open("rb") as file, numpy.load(file, allow_pickle=False) as archive:
        columns = {name: archive[name] for name in archive.files}
    wrong = [f"{name} {column.shape}" for name, column in columns.items() if column.ndim not in (1, 2)]
    if wrong:
        raise DataError(f"{path}: arrays with one or two dimensions expected, got {', '.join(wrong)}; reshape them")
    return columns
