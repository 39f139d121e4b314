"""Which rows each network is fitted to, and how many are too many."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def chunks(n: int, chunk_rows: int, networks: int, random: np.random.RandomState) -> list[Array]:
    """The rows of each network, ascending: all n, or `chunk_rows` of them so that every row has a network.

    Args:
        n: rows.
        chunk_rows: the most rows of a network, whose kernel takes 8 chunk_rows^2 bytes.
        networks: how many.
        random: deals the rows out.

    Raises:
        ValueError: there are more rows than the networks can take.
    """
    if n <= chunk_rows:
        return [np.arange(n)] * networks
    if n > chunk_rows * networks:
        raise ValueError(
            f"{n} rows, more than the {chunk_rows * networks} that {networks} networks of chunk_rows={chunk_rows} rows "
            "take: use sklearn.ensemble.HistGradientBoosting for so many, or raise n_estimators or chunk_rows "
            "(time grows as n_estimators * chunk_rows^3)"
        )
    order = random.permutation(n)
    starts = [round(network * n / networks) for network in range(networks)]
    return [np.sort(order[np.arange(start, start + chunk_rows) % n]) for start in starts]
