"""The linear map of a layer whose rows lie in several processes."""

import functools

import torch
from torch import Tensor

from revgn.linear.features import Features, Weights, add_lower, lower_product
from revgn.linear.map import LinearMap, SameDomain
from revgn.linear.sharded import together
from revgn.linear.shards import Rows, Shard


class SpreadFeatures(SameDomain):
    """A = [Phi, 1] of all rows of a batch, given that of the rows that lie here.

    Right-hand sides and products have the rows of all processes, in each of them; vectors of the domain are the same in
    all. Where there are as many columns as rows the features are exchanged once: each process gives some rows of all
    columns for all rows of some columns, and no process ever has all features. From these it has its columns' part of
    Phi Phi^T, which is summed up over processes, and its columns of u^T Phi, which are gathered.

    Args:
        local: the map of the rows that lie here, in memory as a whole.
        shard: where the others are.

    Raises:
        ValueError: the features come in chunks.
    """

    def __init__(self, local: Features, shard: Shard) -> None:
        super().__init__(local)
        if len(local.slices) > 1:
            raise ValueError(
                f"chunk_rows with a batch over {shard.processes.count} processes, which exchange features; leave "
                "chunk_rows out, or use more processes"
            )
        self.local, self.shard = local, shard
        self.rows = shard.rows_for(local.rows)

    @functools.cached_property
    def _columns(self) -> Tensor:
        """This process's columns of Phi, of all rows."""
        return self.shard.columns(self.local.chunk(self.local.slices[0]))

    def apply(self, x: Weights) -> Tensor:
        return self.shard.everywhere(self.local.apply(x))

    def adjoint(self, u: Tensor) -> Weights:
        # (k, h), as a layer's weight lies in memory
        if self.wide:
            delta = self.shard.all_columns(u.mT @ self._columns, self.local.width)
        else:  # more rows than a sum over them has entries
            delta = self.shard.total(self.local.adjoint(self.shard.here(u))[0].mT)
        return delta.mT, (u.sum(0) if self.local.bias else None)

    def gram(self, dtype: torch.dtype = torch.float64) -> Tensor:
        gram = torch.zeros(self.rows, self.rows, dtype=dtype, device=self.device)
        add_lower(together(self.shard.processes.total, list(lower_product(self._columns))), gram)
        return gram.add_(1.0) if self.local.bias else gram

    def column_gram(self) -> Tensor:
        return self.shard.total(self.local.column_gram())

    def dense(self) -> Tensor:
        return self.shard.everywhere(self.local.dense())

    def squared_norm(self) -> float:
        return float(self.shard.total(torch.tensor(self.local.squared_norm(), dtype=torch.float64, device=self.device)))

    def typical_entry(self) -> float:
        return self.shard.largest(self.local.typical_entry())

    def largest_entry(self) -> float:
        return self.shard.largest(self.local.largest_entry())

    def scaled(self, factor: float) -> "SpreadFeatures":
        return SpreadFeatures(self.local.scaled(factor), self.shard)


def of_all_rows(map: Features, rows: Rows) -> LinearMap:
    """The map of all rows of a batch, given that of the rows that lie here."""
    return SpreadFeatures(map, rows) if isinstance(rows, Shard) else map
