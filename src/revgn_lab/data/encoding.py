"""Columns of words as numbers."""

from typing import Any

import torch
from torch import Tensor

from revgn_lab.data.errors import DataError, require

_RAREST = 0.01  # of the training rows; as Kuhn and Silge pool rare neighbourhoods (Tidy Modeling with R, section 8.4)


def encode(frame: Any, train: Tensor, name: str) -> Tensor:
    """The columns of a pandas data frame side by side, (n, d) float64, in their order.

    Numbers stay as they are. A column of words becomes a column of zeros and ones for each word that between 1 % and
    99 % of the training rows have, in alphabetical order; rarer ones are zero in all of these columns, since a column
    that is nearly constant says little and would become huge where it is not, once standardised. An empty place among
    words counts as a word of its own.

    Args:
        frame: all rows.
        train: numbers of the training rows, which alone decide which words have a column.
        name: of the data set, for messages.

    Raises:
        DataError: a number is missing or not finite, or no column is left.
    """
    numeric = require("pandas", f"for the {name} data set").api.types.is_numeric_dtype
    columns: list[Tensor] = []
    for column in frame.columns:
        if not numeric(frame[column].dtype):
            columns += _one_hot(frame[column], train)
            continue
        values = torch.tensor(frame[column].to_numpy(dtype="float64", na_value=float("nan")), device="cpu")
        absent = int((~values.isfinite()).sum())
        if absent:
            raise DataError(f"{name}: column {column!r} has {absent} empty, NaN or infinite number(s); fill them in")
        columns.append(values)
    if not columns:
        raise DataError(f"{name}: no column tells rows apart; expected numbers, or words that differ")
    return torch.stack(columns, dim=1)


def _one_hot(words: Any, train: Tensor) -> list[Tensor]:
    """A column of zeros and ones for each word that is neither rare nor nearly everywhere in training."""
    encoder = require("sklearn.preprocessing", "for columns of words").OneHotEncoder
    words = words.astype(object).where(words.notna(), "").astype(str)
    shares = words.iloc[train.numpy()].value_counts(normalize=True)
    kept = sorted(shares.index[shares.between(_RAREST, 1 - _RAREST)])
    if not kept:
        return []
    encoded = encoder(categories=[kept], handle_unknown="ignore", sparse_output=False).fit_transform(words.to_frame())
    return list(torch.from_numpy(encoded).unbind(dim=1))
