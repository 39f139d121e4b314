"""Which rows are for training, which for testing, and which of the training rows are drawn."""

import torch
from torch import Tensor

from revgn_lab.data.data_error import DataError

TEST_FRACTION = 0.2
_SPLIT_SEED = 0  # fixed: runs with different seeds must be tested on the same rows


def split(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers for training and for testing, a fifth of every group; the same groups are always split the same way.

    For sets that are published without a test part.

    Args:
        groups: (n,) class of each row; all zeros where there are none.

    Returns:
        Two ascending int64 vectors that together hold every row once.
    """
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(_SPLIT_SEED), device="cpu")
    for_test = torch.zeros(len(groups), dtype=torch.bool, device="cpu")
    for group in groups.unique():
        members = order[groups[order] == group]
        for_test[members[: round(TEST_FRACTION * len(members))]] = True
    return torch.nonzero(~for_test).squeeze(1), torch.nonzero(for_test).squeeze(1)


def subset(available: int, rows: int | None, seed: int, name: str) -> Tensor | slice:
    """Which of the `available` training rows to use: all of them for None, else `rows` drawn by `seed` alone.

    The draw does not touch torch's global random numbers. Fewer rows by the same seed are a prefix of more.

    Raises:
        DataError: `rows` is not a whole number from 1 to `available`, or `seed` is not one from 0 on.
    """
    if rows is None:
        return slice(None)
    if isinstance(rows, bool) or not isinstance(rows, int) or not 1 <= rows <= available:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DataError(f"rows must be a whole number from 1 to {available}, the training rows of {name}; got {rows!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DataError(f"seed must be a whole number from 0 on, got {seed!r}")
    return torch.randperm(available, generator=torch.Generator().manual_seed(seed), device="cpu")[:rows]
