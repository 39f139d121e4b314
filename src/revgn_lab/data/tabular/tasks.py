"""What a target column is: a quantity, or classes."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from revgn_lab.data.data_error import DataError
from revgn_lab.data.tabular.frames import Column, pd

Task = Literal["regression", "classification"]
MOST_CLASSES = 20
"""That whole numbers are taken for, where nobody says what they are."""


def task_of(column: Column, name: str) -> tuple[Task, str]:
    """The task that the values mean, and what to say of it where others could be meant.

    Words and booleans are classes, numbers with decimals quantities; whole numbers are classes if there are at most 20
    different ones, and two rows for each on average.

    Args:
        column: without gaps.
        name: what messages call it.

    Raises:
        DataError: words that are nearly as many as rows.
    """
    distinct = int(column.nunique())
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        if 2 * distinct > len(column):
            raise DataError(
                f"{name} has {distinct:,} different words in {len(column):,} rows, too many for classes; name another"
            )
        return "classification", ""
    if pd.api.types.is_float_dtype(column):
        return "regression", ""
    few = distinct <= MOST_CLASSES and 2 * distinct <= len(column)
    task: Task = "classification" if few else "regression"
    return task, f"{name} holds {distinct:,} different whole numbers: taken for {task}, unless task says otherwise"


def class_names(column: Column) -> NDArray[Any]:
    """The values as classes, numbers by their size and words by the alphabet: (n,)."""
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return np.asarray(column.astype(str), dtype=object)
    return column.to_numpy()
