"""The linear map of a layer whose rows lie in several processes."""

import torch
from torch import Tensor

from revgn.linear.features import Features, Weights
from revgn.linear.map import LinearMap, SameDomain
from revgn.linear.shards import Rows, Shard
from revgn.linear.strips import Strips


class SpreadFeatures(SameDomain):
    """A = [Phi, 1] of all rows of a batch, given that of the rows that lie here.

    Right-hand sides and products have the rows of all processes, in each of them; vectors of the domain are the same in
    all. Of the Gram matrix each process forms some rows, from features that are gathered for it and let go again.

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
                f"chunk_rows with a batch over {shard.processes.count} processes, which gather features; leave "
                "chunk_rows out, or use more processes"
            )
        self.local, self.shard = local, shard
        self.rows = shard.rows_for(local.rows)

    def apply(self, x: Weights) -> Tensor:
        return self.shard.everywhere(self.local.apply(x))

    def adjoint(self, u: Tensor) -> Weights:
        delta, bias = self.local.adjoint(self.shard.here(u))
        # Transposed in memory, as a layer's weight is: summed up as it lies there.
        return self.shard.total(delta.mT).mT, (None if bias is None else u.sum(0))

    def gram(self, dtype: torch.dtype = torch.float64) -> Tensor:
        left, right = self._sides()
        strips = Strips(self.shard, self.rows)
        parts = [(left[here] @ right[: here.stop].mT).to(dtype) for here in strips.mine]
        gram = strips.assembled(parts, like=right.new_empty(0, dtype=dtype))
        return gram.add_(1.0) if self.local.bias else gram

    def _sides(self) -> tuple[Tensor, Tensor]:
        """Two matrices of all rows whose product, the second transposed, is Phi Phi^T."""
        product = self.local.product
        if product is not None and len(product.basis) < self.rows:  # narrower: less to gather
            rows = self.shard.everywhere(product.rows)
            return rows @ (product.basis @ product.basis.mT), rows
        features = self.shard.everywhere(self.local.chunk(self.local.slices[0]))
        return features, features

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
