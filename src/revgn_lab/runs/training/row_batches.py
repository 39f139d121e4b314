"""Batches of rows of tensors in memory, in an order that only the seed and the epoch decide."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

Rows = slice | Tensor


class BatchOrder(Sampler[Rows]):
    """The rows of each batch of an epoch. Lightning calls `set_epoch`, also when it resumes.

    Args:
        rows: n, of the whole table.
        batch_size: rows in a batch; all of them when None or larger than n, then in the table's own order.
        seed: with the epoch it decides the order, whatever random numbers were drawn before.
        drop_last: leave out a last batch that is not full.
    """

    def __init__(self, rows: int, batch_size: int | None, *, seed: int, drop_last: bool) -> None:
        self.rows = rows
        self.batch_size = rows if batch_size is None else min(batch_size, rows)
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows // self.batch_size if self.drop_last else -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[Rows]:
        if self.batch_size == self.rows:
            yield slice(None)  # a view, not a copy
            return
        mixed = int(np.random.SeedSequence((self.seed, self.epoch)).generate_state(1)[0])
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(mixed), device="cpu")
        yield from order.split(self.batch_size)[: len(self)]


def batches(
    inputs: Tensor, targets: Tensor, batch_size: int | None, *, seed: int, drop_last: bool
) -> DataLoader[tuple[Tensor, ...]]:
    """A loader of (inputs, targets) batches, each indexed at once: row by row costs more than the step itself."""
    order = BatchOrder(len(inputs), batch_size, seed=seed, drop_last=drop_last)
    return DataLoader(TensorDataset(inputs, targets), sampler=order, batch_size=None)
