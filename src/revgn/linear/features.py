"""The linear map of one layer: its features at a batch, with a bias column that is never formed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear.kept import Kept
from revgn.linear.map import LinearMap
from revgn.linear.sharded import beside, is_sharded, together, whole

# Rows of the strips in which the lower triangle of a Gram matrix is formed: 10 of 16 parts of it at n = 1024. Strips of
# 128 rows save 6 % of its time, but round otherwise: of 192 steps on digits in float32 one was no longer exact.
TILE = 256

Weights = tuple[Tensor, Tensor | None]
"""A vector of the domain: the rows of Delta for the features, (h, k), and its bias row, (k,), or None."""


@dataclass(frozen=True, eq=False)
class Product:
    """Phi = Z V, the features of a layer that is linear in its inputs: no rank beyond the width k of Z.

    Attributes:
        rows: Z, (n, k).
        basis: V, (k, h).
    """

    rows: Tensor
    basis: Tensor


def remember_product(features: Tensor, product: Product) -> Tensor:
    """The features, marked as a product for whoever gets to see this very tensor."""
    features.revgn_product = product  # pyright: ignore[reportAttributeAccessIssue]
    return features


def product_of(features: Tensor) -> Product | None:
    """The product that the features were marked with, or None."""
    return getattr(features, "revgn_product", None)


@dataclass(eq=False)
class Features(LinearMap):
    """A = [Phi, 1], or Phi alone: features (n, h), and whether a column of ones follows them.

    Gram matrices are formed in the features' dtype, by far the largest product here, and returned in float64, where
    they are factored. Only their lower triangle is formed, in tiles; it is all that is read of them.

    Attributes:
        chunk: gives the features of a slice of rows; called whenever they are needed.
        slices: the slices of rows that `chunk` is asked for, in order; no more than one of them is held at once.
        like: any tensor of the features' width h, dtype and device, on the mesh where they are sharded.
        bias, product: whether a column of ones follows the features; these as a product, where they are one.
    """

    chunk: Callable[[slice], Tensor]
    slices: Sequence[slice]
    like: Tensor
    bias: bool = False
    product: Product | None = None

    def __post_init__(self) -> None:
        self.rows = self.slices[-1].stop
        self.width = self.like.shape[-1]
        self.columns = self.width + self.bias
        self.dtype, self.device = self.like.dtype, self.like.device

    @classmethod
    def of(cls, features: Tensor, *, bias: bool = False, product: Product | None = None) -> "Features":
        """The map of features (n, h) that lie in memory."""
        return cls(lambda _: features, [slice(0, len(features))], features, bias, product)

    @classmethod
    def streamed(
        cls, chunk: Callable[[slice], Tensor], rows: int, chunk_rows: int, *, like: Tensor, bias: bool = False
    ) -> "Features":
        """The map of features that are made a chunk of rows at a time, and again on every use."""
        return cls(chunk, split_rows(rows, chunk_rows), like, bias)

    def scaled(self, factor: float) -> "Features":
        # A bias column cannot be scaled apart from its features: it becomes one of them.
        if self.bias:
            return Features.of(factor * self.dense())
        return Features(lambda rows: factor * self.chunk(rows), self.slices, self.like)

    def gram(self, dtype: torch.dtype = torch.float64) -> Tensor:
        if self.product is not None and len(self.product.basis) < self.rows:
            # Z (V V^T) Z^T: products of width k in place of h.
            gram = ((self.product.rows @ _metric(self.product.basis)) @ self.product.rows.mT).to(dtype)
        else:
            gram = torch.zeros(self.rows, self.rows, dtype=dtype, device=self.device)
            for index, here in enumerate(self.slices):
                chunk = self.chunk(here)
                add_lower_product(chunk, gram[here, here])
                for before in self.slices[:index]:
                    gram[here, before] = whole(chunk @ self.chunk(before).mT)
        return gram.add_(1.0) if self.bias else gram

    def column_gram(self) -> Tensor:
        h = self.width
        gram = torch.zeros(self.columns, self.columns, dtype=torch.float64, device=self.device)
        for here in self.slices:
            # Whole, for every pair of columns meets: fewer features than rows is not what they are sharded for.
            chunk = whole(self.chunk(here))
            add_lower_product(chunk.mT, gram[:h, :h])
            if self.bias:
                gram[h, :h] += chunk.sum(0, dtype=torch.float64)
                gram[h, h] += len(chunk)
        return gram

    def apply(self, x: Weights) -> Tensor:
        delta, bias = x
        if self.product is not None and len(self.product.basis) < self.rows:
            inner = whole(self.product.basis @ beside(delta, self.product.basis))
            return _affine(self.product.rows, inner, bias)
        return joined([_affine(self.chunk(here), beside(delta, self.like), bias) for here in self.slices])

    def adjoint(self, u: Tensor) -> Weights:
        """Phi^T u, (h, k), transposed in memory as a layer's weight is, and the sum of u, (k,), for the bias row."""
        first, *others = self.slices
        delta = beside(u[first].mT, self.like) @ self.chunk(first)
        for here in others:
            delta.addmm_(beside(u[here].mT, self.like), self.chunk(here))
        return delta.mT, (u.sum(0) if self.bias else None)

    def there_and_back(self, x: Weights) -> tuple[Tensor, Weights]:
        moved: list[Tensor] = []
        back: Weights | None = None
        for here in self.slices:
            part = Features.of(self.chunk(here), bias=self.bias)
            moved.append(part.apply(x))
            pulled = part.adjoint(moved[-1])
            back = pulled if back is None else self.add(back, pulled)
        assert back is not None
        return joined(moved), back

    def squared_norm(self) -> float:
        norms = [torch.linalg.vector_norm(self.chunk(here), dtype=torch.float64) for here in self.slices]
        return float(whole(torch.stack(norms).square().sum())) + self.rows * self.bias

    def typical_entry(self) -> float:
        return float(whole(self.chunk(self.slices[0])[:16].abs().amax()))

    def largest_entry(self) -> float:
        # The maximum norm, which makes no copy as abs() would; NaN passes through it.
        largest = [torch.linalg.vector_norm(self.chunk(here), torch.inf) for here in self.slices]
        return float(whole(torch.stack(largest).amax()))

    def stack(self, x: Weights) -> Tensor:
        delta, bias = whole(x[0]), x[1]
        return delta if bias is None else torch.cat((delta, bias.unsqueeze(0)))

    def split(self, stacked: Tensor) -> Weights:
        return (stacked[:-1], stacked[-1]) if self.bias else (stacked, None)

    def add(self, x: Weights, y: Weights) -> Weights:
        return x[0] + y[0], (None if x[1] is None or y[1] is None else x[1] + y[1])

    def times(self, x: Weights, right: Tensor) -> Weights:
        # Delta is transposed in memory, as a layer's weight is, and stays so.
        return (beside(right.mT, x[0]) @ x[0].mT).mT, (None if x[1] is None else x[1] @ right)

    def transformed(self, matrix: Tensor, x: Weights) -> Weights:
        # In Delta's own place in memory and without a stack, which would be copies of it.
        delta, bias = whole(x[0]).mT, x[1]
        if bias is None:
            return (delta @ matrix).mT, None
        h = self.width
        row = matrix[h, :h].contiguous()  # inverses lie in memory by columns, and strided vectors are slow
        moved = (delta @ matrix[:h, :h]).addr_(bias, row)
        return moved.mT, torch.addmv(matrix[h, h] * bias, delta, row)

    def dense(self) -> Tensor:
        """A itself: a copy, unless it lies in memory without a bias.

        Raises:
            ValueError: the features come in chunks, and A must not be held.
        """
        if len(self.slices) > 1:
            raise ValueError(
                f"the features of {self.rows} rows come in {len(self.slices)} chunks, but this solver factors them as "
                "a whole; use Cholesky, Eigh, CG or Randomized, or leave chunk_rows out"
            )
        features = whole(self.chunk(self.slices[0]))
        return torch.cat((features, features.new_ones(self.rows, 1)), dim=1) if self.bias else features


# V V^T, (k, k), of the basis of a product.
_metric = Kept(lambda basis: whole(basis @ basis.mT))


def _affine(features: Tensor, delta: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return whole(features @ delta)
    return whole(torch.addmm(beside(bias, features), features, delta))


def add_lower_product(matrix: Tensor, out: Tensor, tile: int = TILE) -> None:
    """Add M M^T to `out`, (m, m), for M (m, p): the lower triangle, and no more of the upper than strips bring."""
    strips = lower_product(matrix, tile)
    add_lower(together(whole, list(strips)) if is_sharded(matrix) else strips, out)


def lower_product(matrix: Tensor, tile: int = TILE) -> Iterator[Tensor]:
    """M M^T for M (m, p) in strips of rows, each up to the diagonal."""
    return (matrix[here] @ matrix[: here.stop].mT for here in split_rows(len(matrix), tile))


def add_lower(strips: Iterable[Tensor], out: Tensor) -> None:
    """Add to `out`, (m, m), strips of rows of a lower triangle."""
    start = 0
    for strip in strips:
        stop = strip.shape[1]
        out[start:stop, :stop] += strip
        start = stop


def split_rows(rows: int, step: int) -> list[slice]:
    """The rows in slices of `step`, at least one row each, in order."""
    step = max(1, step)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def joined(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after another; a single one as it is, without a copy."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim)
