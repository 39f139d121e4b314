"""The matrix A = [Phi, 1] of a half-coupling, with a bias column that is never formed."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Rows of the tiles in which the lower triangle of a Gram matrix is formed: 10 of 16 tiles at n = 1024. Narrower ones
# leave out more, but products of few rows are slower than what they save.
TILE = 256


@dataclass(frozen=True, eq=False)
class Design:
    """A = [Phi, 1], or Phi alone: features (n, h), and whether a column of ones follows them.

    Gram matrices are formed in the features' dtype, by far the largest product here, and returned in float64, where
    they are factored. Only their lower triangle is formed, in tiles; it is all that is read of them.
    """

    features: Tensor
    bias: bool = False

    @property
    def rows(self) -> int:
        return self.features.shape[0]

    @property
    def columns(self) -> int:
        return self.features.shape[1] + self.bias

    @property
    def wide(self) -> bool:
        """Whether there are at least as many columns as rows: then solve in row space."""
        return self.columns >= self.rows

    def gram(self) -> Tensor:
        """The lower triangle of the smaller of A A^T (n, n) and A^T A (p, p), in float64."""
        return self._row_gram() if self.wide else self._column_gram()

    def _row_gram(self) -> Tensor:
        gram = self.features.new_zeros(self.rows, self.rows, dtype=torch.float64)
        _lower_product(self.features, gram)
        return gram.add_(1.0) if self.bias else gram

    def _column_gram(self) -> Tensor:
        h = self.features.shape[1]
        gram = self.features.new_zeros(self.columns, self.columns, dtype=torch.float64)
        _lower_product(self.features.mT, gram[:h, :h])
        if self.bias:
            gram[h, :h], gram[h, h] = self.features.sum(0, dtype=torch.float64), self.rows
        return gram

    def apply(self, delta: Tensor, bias: Tensor | None) -> Tensor:
        """A Delta, (n, k), for delta (h, k) and bias (k,)."""
        return self.features @ delta if bias is None else torch.addmm(bias, self.features, delta)

    def transpose(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """A^T rows for rows (n, k): delta (h, k), transposed in memory as a layer's weight is, and bias (k,)."""
        return (rows.mT @ self.features).mT, (rows.sum(0) if self.bias else None)

    def split(self, stacked: Tensor) -> tuple[Tensor, Tensor | None]:
        """Delta and bias from the two stacked, (p, k)."""
        return (stacked[:-1], stacked[-1]) if self.bias else (stacked, None)

    def stack(self, delta: Tensor, bias: Tensor | None) -> Tensor:
        """The inverse of `split`."""
        return delta if bias is None else torch.cat((delta, bias.unsqueeze(0)))

    def dense(self) -> Tensor:
        """A itself, (n, p): a copy, for the solvers that factor it."""
        if not self.bias:
            return self.features
        return torch.cat((self.features, self.features.new_ones(self.rows, 1)), dim=1)


def _lower_product(matrix: Tensor, out: Tensor) -> None:
    """Write M M^T into `out`, (m, m), for M (m, p): the lower triangle, and no more of the upper than tiles bring."""
    for start in range(0, len(matrix), TILE):
        stop = start + TILE
        out[start:stop, :stop] = matrix[start:stop] @ matrix[:stop].mT
