"""Linear maps whose rows are weighed: by a root of the loss's curvature, or by the weights of the samples."""

import torch
from torch import Tensor, nn

from revgn.linear.functional import by_parameter
from revgn.linear.jacobian import Jacobian
from revgn.linear.jacobian_blocks import ALL_ROWS
from revgn.linear.map import LinearMap, SameDomain, Vector

# Rows of the batch on which J Delta is compared with K v.
SPOTTED = 64

Stepped = dict[nn.Parameter, Tensor]


class Weighted(LinearMap):
    """R J, (n k, P): a Jacobian as solvers see it, its outputs weighed row by row by a root of the loss's curvature.

    A vector of its domain is a change of parameters, and a right-hand side has one column.

    Args:
        root: R, (n, k, d_out) with R^T R = H in each row; None for the identity, k = d_out.
        jacobian: J.
    """

    def __init__(self, root: Tensor | None, jacobian: Jacobian) -> None:
        self.root, self.jacobian = root, jacobian
        outputs, self.columns = jacobian.shape
        self.rows = outputs if root is None else root.shape[0] * root.shape[1]
        self.dtype, self.device = jacobian.dtype, jacobian.device

    def weigh(self, outputs: Tensor, rows: slice = ALL_ROWS) -> Tensor:
        """R times a tangent of the outputs, (n, d_out), or of some rows of them, as a right-hand side (n k, 1)."""
        weighed = outputs if self.root is None else (self.root[rows] @ outputs.unsqueeze(-1)).squeeze(-1)
        return weighed.reshape(-1, 1)

    def apply(self, x: Stepped) -> Tensor:
        return self.weigh(self.jacobian.apply(x))

    def adjoint(self, u: Tensor) -> Stepped:
        n, d = self.jacobian.rows, self.jacobian.d_out
        v = u.view(n, -1)
        return self.jacobian.adjoint(v if self.root is None else (self.root.mT @ v.unsqueeze(-1)).view(n, d))

    def spot(self, x: Stepped) -> tuple[Tensor, Tensor] | None:
        n = self.jacobian.rows
        if n <= 2 * SPOTTED:
            return None
        rows = slice(0, n, n // SPOTTED)
        indices = torch.arange(self.rows, device=self.device).view(n, -1)[rows]
        return indices.flatten(), self.weigh(self.jacobian.apply(x, rows), rows)

    def gram(self, dtype: torch.dtype = torch.float64) -> Tensor:
        if self.root is None:
            return self.jacobian.lower_gram(dtype)
        n, k, d = self.root.shape
        root = self.root.double()
        kernel = self.jacobian.gram().view(n, d, n * d)
        left = (root @ kernel).view(n * k, n, d)  # R K
        return torch.einsum("inb,nkb->ink", left, root).reshape(n * k, n * k).to(dtype)  # R K R^T

    def dense(self) -> Tensor:
        dense = self.jacobian.dense()
        if self.root is None:
            return dense
        return (self.root @ dense.view(self.jacobian.rows, self.jacobian.d_out, -1)).flatten(0, 1)

    def typical_entry(self) -> float:
        return 1.0  # entries of J are had by a backward pass: not asked for unless something went wrong

    def largest_entry(self) -> float:
        sums = self.adjoint(torch.ones(self.rows, 1, dtype=self.dtype, device=self.device))
        return float(torch.stack([p.abs().amax() for p in sums.values()]).amax())

    def scaled(self, factor: float) -> "Weighted":
        n, d = self.jacobian.rows, self.jacobian.d_out
        root = torch.eye(d, dtype=self.dtype, device=self.device).expand(n, d, d) if self.root is None else self.root
        return Weighted(factor * root, self.jacobian)

    def stack(self, x: Stepped) -> Tensor:
        return torch.cat([x[p].flatten() for p in self.jacobian.parameters]).unsqueeze(1)

    def split(self, stacked: Tensor) -> Stepped:
        return by_parameter(stacked.flatten(), self.jacobian.parameters)

    def add(self, x: Stepped, y: Stepped) -> Stepped:
        return {p: x[p] + y[p] for p in x}


class WeightedRows(SameDomain):
    """The map diag(w) A, for weights of the rows that are square roots of sample weights.

    Args:
        root: w, (rows,).
        map: A.
    """

    def __init__(self, root: Tensor, map: LinearMap) -> None:
        super().__init__(map)
        self.root = root.unsqueeze(1)

    def apply(self, x: Vector) -> Tensor:
        return self.root * self.map.apply(x)

    def adjoint(self, u: Tensor) -> Vector:
        return self.map.adjoint(self.root * u)

    def gram(self, dtype: torch.dtype = torch.float64) -> Tensor:
        root = self.root.to(dtype)
        return self.map.gram(dtype).mul_(root).mul_(root.mT)

    def dense(self) -> Tensor:
        return self.root * self.map.dense()

    def typical_entry(self) -> float:
        return self.map.typical_entry()

    def largest_entry(self) -> float:
        return self.map.largest_entry()

    def scaled(self, factor: float) -> "WeightedRows":
        return WeightedRows(self.root.squeeze(1), self.map.scaled(factor))
