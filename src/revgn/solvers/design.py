"""The matrix A = [Phi, 1] of a half-coupling, with a bias column that is never formed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# Rows of the tiles in which the lower triangle of a Gram matrix is formed: 10 of 16 tiles at n = 1024. Narrower ones
# leave out more, but products of few rows are slower than what they save.
TILE = 256


class Factored(Protocol):
    """Phi = Z V, for rows Z (n, k) and basis V (k, h)."""

    @property
    def rows(self) -> Tensor: ...
    @property
    def basis(self) -> Tensor: ...


class Rows(Protocol):
    """Features Phi, (n, h), that can be had a slice of rows at a time; the points of `revgn.nn` are such."""

    @property
    def shape(self) -> torch.Size: ...
    @property
    def slices(self) -> Sequence[slice]: ...
    @property
    def factor(self) -> Factored | None: ...
    def block(self, rows: slice) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Whole:
    """Features that lie in memory."""

    features: Tensor
    factor: Factored | None = None

    @property
    def shape(self) -> torch.Size:
        """Rows and features, (n, h)."""
        return self.features.shape

    @property
    def slices(self) -> Sequence[slice]:
        """All rows at once."""
        return (slice(0, len(self.features)),)

    def block(self, rows: slice) -> Tensor:
        """The features."""
        return self.features


@dataclass(frozen=True, eq=False)
class Design:
    """A = [Phi, 1], or Phi alone: features (n, h), and whether a column of ones follows them.

    Gram matrices are formed in the features' dtype, by far the largest product here, and returned in float64, where
    they are factored. Only their lower triangle is formed, in tiles; it is all that is read of them.
    """

    features: Rows
    bias: bool = False

    @classmethod
    def of(cls, features: Tensor, bias: bool = False) -> "Design":
        """The design of features that lie in memory."""
        return cls(Whole(features), bias)

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
        slices = self.features.slices
        gram: Tensor | None = None
        for index, here in enumerate(slices):
            block = self.features.block(here)
            gram = block.new_zeros(self.rows, self.rows, dtype=torch.float64) if gram is None else gram
            _add_lower_product(block, gram[here, here])
            for before in slices[:index]:
                gram[here, before] = block @ self.features.block(before).mT
        assert gram is not None
        return gram.add_(1.0) if self.bias else gram

    def _column_gram(self) -> Tensor:
        h = self.features.shape[1]
        gram: Tensor | None = None
        for here in self.features.slices:
            block = self.features.block(here)
            gram = block.new_zeros(self.columns, self.columns, dtype=torch.float64) if gram is None else gram
            _add_lower_product(block.mT, gram[:h, :h])
            if self.bias:
                gram[h, :h] += block.sum(0, dtype=torch.float64)
                gram[h, h] += len(block)
        assert gram is not None
        return gram

    def apply(self, delta: Tensor, bias: Tensor | None) -> Tensor:
        """A Delta, (n, k), for delta (h, k) and bias (k,)."""
        factor = self.features.factor
        if factor is not None and factor.basis.shape[0] < self.rows:
            return _affine(factor.rows, factor.basis @ delta, bias)
        parts = [_affine(self.features.block(here), delta, bias) for here in self.features.slices]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def transpose(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """A^T rows for rows (n, k): delta (h, k), transposed in memory as a layer's weight is, and bias (k,)."""
        first, *others = self.features.slices
        delta = rows[first].mT @ self.features.block(first)
        for here in others:
            delta.addmm_(rows[here].mT, self.features.block(here))
        return delta.mT, (rows.sum(0) if self.bias else None)

    def there_and_back(self, delta: Tensor, bias: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
        """A Delta and A^T A Delta, with the features made once."""
        moved, back = [], None
        for here in self.features.slices:
            block = self.features.block(here)
            moved.append(_affine(block, delta, bias))
            part = moved[-1].mT @ block
            back = part if back is None else back.add_(part)
        assert back is not None
        rows = moved[0] if len(moved) == 1 else torch.cat(moved)
        return rows, (back.mT, rows.sum(0) if self.bias else None)

    def squared_norm(self) -> float:
        """||A||_F^2, the trace of either Gram matrix."""
        blocks = (self.features.block(here) for here in self.features.slices)
        norms = [torch.linalg.vector_norm(block, dtype=torch.float64) for block in blocks]
        return float(torch.stack(norms).square().sum()) + self.rows * self.bias

    def split(self, stacked: Tensor) -> tuple[Tensor, Tensor | None]:
        """Delta and bias from the two stacked, (p, k)."""
        return (stacked[:-1], stacked[-1]) if self.bias else (stacked, None)

    def stack(self, delta: Tensor, bias: Tensor | None) -> Tensor:
        """The inverse of `split`."""
        return delta if bias is None else torch.cat((delta, bias.unsqueeze(0)))

    def dense(self) -> Tensor:
        """A itself, (n, p), for the solvers that factor it: a copy, unless it lies in memory without a bias.

        Raises:
            ValueError: the features are streamed, and A must not be held.
        """
        slices = self.features.slices
        if len(slices) > 1:
            raise ValueError(
                f"the features of {self.rows} rows come in {len(slices)} chunks, but this solver factors them as a "
                "whole; use Cholesky, Eigh, CG or Randomized, or leave chunk_rows out"
            )
        features = self.features.block(slices[0])
        return torch.cat((features, features.new_ones(self.rows, 1)), dim=1) if self.bias else features


def _affine(features: Tensor, delta: Tensor, bias: Tensor | None) -> Tensor:
    return features @ delta if bias is None else torch.addmm(bias, features, delta)


def _add_lower_product(matrix: Tensor, out: Tensor) -> None:
    """Add M M^T to `out`, (m, m), for M (m, p): the lower triangle, and no more of the upper than tiles bring."""
    for start in range(0, len(matrix), TILE):
        stop = start + TILE
        out[start:stop, :stop] += matrix[start:stop] @ matrix[:stop].mT
