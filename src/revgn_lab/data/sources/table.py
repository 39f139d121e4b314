"""A table of the user's own as a data set: one named column as target, all others as inputs."""

import re
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from revgn.naming import unknown_name
from revgn_lab.data.data_error import DataError
from revgn_lab.data.parts import Parts, column_statistics, regression_parts
from revgn_lab.data.splits import split
from revgn_lab.data.tabular.encoding import plan_encoding
from revgn_lab.data.tabular.frames import Frame, pd
from revgn_lab.data.tabular.reading import read_table
from revgn_lab.data.tabular.tasks import Task, class_names, task_of

__all__ = ["Task", "read"]


def read(path: Path, target: str | None, task: Task | None) -> Parts:
    """Read a table and set a fifth of its rows aside for testing, always the same ones.

    Words, dates and gaps among the inputs become numbers, see `revgn_lab.data.tabular.encoding`. Inputs are
    standardised by column.

    Args:
        path: a file with a suffix of `revgn_lab.files.TABLES`. The target may be an array (n, k) of an NPZ file.
        target: name of the target column.
        task: "classification" or "regression"; None decides by the target, see `task_of`.

    Raises:
        DataError: the file cannot be read, the target is not in it, or a value cannot be used.
    """
    frame = read_table(path).frame
    columns = _target_columns(path, frame, target)
    if task not in (None, "classification", "regression"):
        raise DataError(unknown_name("task", task, ("classification", "regression")))
    wanted = frame[columns]
    gaps = wanted.isna().any(axis=1)
    if gaps.any():
        raise DataError(
            f"{path}: target {target!r} is empty, NaN or infinite in {int(gaps.sum())} row(s), the first in data row "
            f"{int(gaps.to_numpy().argmax()) + 1}; fill them in or drop these rows"
        )
    several = len(columns) > 1
    decided = task or ("regression" if several else task_of(wanted[columns[0]], f"{path}: target {target!r}")[0])
    if decided == "classification" and several:
        raise DataError(
            f"{path}: target {target!r} has {len(columns)} columns; classes must be one, of numbers or names"
        )
    inputs = frame.drop(columns=columns)
    if decided == "regression":
        return _regression(path, inputs, wanted)
    return _classification(path, inputs, wanted[columns[0]])


def _target_columns(path: Path, frame: Frame, target: str | None) -> list[str]:
    names = [str(name) for name in frame]
    if target is None:
        raise DataError(f"{path}: a table needs target, the name of its target column, one of {', '.join(names)}")
    columns = [target] if target in names else [n for n in names if re.fullmatch(rf"{re.escape(target)}_\d+", n)]
    if not columns:
        raise DataError(f"{path}: {unknown_name('target column', target, names)}")
    return columns


def _regression(path: Path, frame: Frame, wanted: Frame) -> Parts:
    words = [str(name) for name in wanted if not pd.api.types.is_numeric_dtype(wanted[name])]
    if words:
        raise DataError(f"{path}: target column {words[0]!r} is not numeric, as regression needs; make it numbers")
    targets = torch.tensor(wanted.to_numpy(dtype="float64"))  # (n, k)
    train, test = _split(path, torch.zeros(len(targets), dtype=torch.int64))
    if bool((targets[train].amax(dim=0) == targets[train].amin(dim=0)).any()):
        raise DataError(
            f"{path}: target column {wanted.columns[0]!r} holds one and the same value; name another target"
        )
    inputs = _inputs(path, frame, train)
    return regression_parts(inputs, targets, train, test)


def _classification(path: Path, frame: Frame, column: Frame) -> Parts:
    values, codes = np.unique(class_names(column), return_inverse=True)
    if len(values) < 2:
        raise DataError(f"{path}: target column {column.name!r} holds one and the same value; name another")
    targets = torch.from_numpy(codes).long()
    train, test = _split(path, targets)
    inputs = _inputs(path, frame, train)
    mean, scale = column_statistics(inputs[train])
    parts = (inputs[train], targets[train], inputs[test], targets[test])
    return Parts(*parts, mean, scale, classes=tuple(map(str, values)))


def _inputs(path: Path, frame: Frame, train: Tensor) -> Tensor:
    encoding = plan_encoding(frame.iloc[train.numpy()], source=str(path))
    notes = list(encoding.notes)
    inputs = torch.from_numpy(encoding.inputs(frame, source=str(path), notes=notes))
    if notes:
        warnings.warn(f"{path}: {'; '.join(notes)}", stacklevel=2)
    return inputs


def _split(path: Path, groups: Tensor) -> tuple[Tensor, Tensor]:
    train, test = split(groups)
    if not len(test):
        raise DataError(
            f"{path}: {len(groups)} rows are too few to set a fifth of each class aside for testing; add rows"
        )
    return train, test
