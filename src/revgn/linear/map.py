"""The linear map: what every solver inverts, and the only form in which it sees features and Jacobians."""

import abc
from typing import Any

import torch
from torch import Tensor

Vector = Any
"""An element of a map's domain, in the form in which the map keeps it: two tensors for `Features`, a change for J."""


class LinearMap(abc.ABC):
    """A, (rows, columns), known by its products and its Gram matrix.

    A right-hand side is a tensor (rows, k). What the map takes from, its domain, it keeps in a form of its own, a
    `Vector` of k columns; `stack` and `split` change between that form and one matrix (columns, k).

    Attributes:
        rows, columns: the shape of A.
        dtype, device: of the products. Gram matrices are float64.
    """

    rows: int
    columns: int
    dtype: torch.dtype
    device: torch.device

    @property
    def wide(self) -> bool:
        """Whether there are at least as many columns as rows: then A x = u is solved in row space."""
        return self.columns >= self.rows

    def smaller_gram(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """The lower triangle of the smaller of A A^T and A^T A, kept in float64 unless asked otherwise."""
        return self.gram(dtype) if self.wide else self.column_gram()

    @abc.abstractmethod
    def apply(self, x: Vector) -> Tensor:
        """A x, (rows, k)."""

    @abc.abstractmethod
    def adjoint(self, u: Tensor) -> Vector:
        """A^T u for u (rows, k)."""

    @abc.abstractmethod
    def gram(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """A A^T, (rows, rows), kept in `dtype`; only its lower triangle is read."""

    def column_gram(self) -> Tensor:
        """A^T A, (columns, columns), in float64; only its lower triangle is read."""
        dense = self.dense().double()
        return dense.mT @ dense

    @abc.abstractmethod
    def dense(self) -> Tensor:
        """A itself, (rows, columns), for the solvers that factor it."""

    def squared_norm(self) -> float:
        """||A||_F^2, the trace of either Gram matrix."""
        return float(self.gram().diagonal().sum())

    @abc.abstractmethod
    def largest_entry(self) -> float:
        """The largest absolute value in A; NaN or infinity where A holds one."""

    def typical_entry(self) -> float:
        """The largest absolute value in a few rows, which tells the scale of A for little."""
        return self.largest_entry()

    @abc.abstractmethod
    def scaled(self, factor: float) -> "LinearMap":
        """The map factor A, with the same domain."""

    @abc.abstractmethod
    def stack(self, x: Vector) -> Tensor:
        """A vector of the domain as one matrix, (columns, k)."""

    @abc.abstractmethod
    def split(self, stacked: Tensor) -> Vector:
        """The inverse of `stack`."""

    @abc.abstractmethod
    def add(self, x: Vector, y: Vector) -> Vector:
        """The vector x + y."""

    def times(self, x: Vector, right: Tensor) -> Vector:
        """The vector x R, for R (k, m): other combinations of its columns."""
        return self.split(self.stack(x) @ right)

    def transformed(self, matrix: Tensor, x: Vector) -> Vector:
        """The vector M x, for a symmetric M of the domain, (columns, columns)."""
        return self.split(matrix @ self.stack(x))

    def spot(self, x: Vector) -> tuple[Tensor, Tensor] | None:
        """Some rows of A x: their indices (m,) and values (m, k); None where all rows cost little enough."""
        return None

    def there_and_back(self, x: Vector) -> tuple[Tensor, Vector]:
        """A x and A^T A x; a map that makes its rows on the way makes them once."""
        moved = self.apply(x)
        return moved, self.adjoint(moved)


class SameDomain(LinearMap):
    """A map that is made of another one, from the same domain to as many rows, and that can be held.

    Args:
        map: the other one.
    """

    def __init__(self, map: LinearMap) -> None:
        self.map = map
        self.rows, self.columns = map.rows, map.columns
        self.dtype, self.device = map.dtype, map.device

    def squared_norm(self) -> float:
        return float(torch.linalg.vector_norm(self.dense(), dtype=torch.float64).square())

    def stack(self, x: Vector) -> Tensor:
        return self.map.stack(x)

    def split(self, stacked: Tensor) -> Vector:
        return self.map.split(stacked)

    def add(self, x: Vector, y: Vector) -> Vector:
        return self.map.add(x, y)

    def times(self, x: Vector, right: Tensor) -> Vector:
        return self.map.times(x, right)

    def transformed(self, matrix: Tensor, x: Vector) -> Vector:
        return self.map.transformed(matrix, x)
