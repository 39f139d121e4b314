"""The columns of a Jacobian that belong to one layer, and their part of the tangent kernel."""

import abc
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from revgn.linear.features import Features, Product, add_lower_product
from revgn.linear.functional import Change

# Rows of the tiles in which the lower triangle of a tangent kernel is formed: 1 MB of float32, for the cache's sake.
TILE = 512
# Entries of per-example gradients that are held at once beyond what a layer keeps: 256 MiB in float32.
ENTRIES = 2**26
ALL_ROWS = slice(None)


class Block(abc.ABC):
    """J_l, (n d_out, P_l): the derivative of the outputs by one layer's parameters.

    Attributes:
        parameters: whose columns these are, in order.
        rows, outputs: n and d_out.
    """

    parameters: tuple[nn.Parameter, ...]
    rows: int
    outputs: int

    def pair_terms(self) -> "list[PairTerm]":
        """The terms of J_l J_l^T that are Hadamard products; `add_gram` gives the others."""
        return []

    @abc.abstractmethod
    def add_gram(self, kernel: Tensor) -> None:
        """Add what `pair_terms` leaves out to the lower triangle of `kernel`, (n d_out, n d_out)."""

    def add_mean_gram(self, mean: Tensor) -> None:
        """Add the mean over outputs of the diagonal blocks of J_l J_l^T to the lower triangle of `mean`, (n, n)."""
        step = max(1, ENTRIES // max(1, self.outputs * sum(p.numel() for p in self.parameters)))
        chunks = [slice(start, min(start + step, self.rows)) for start in range(0, self.rows, step)]
        for index, here in enumerate(chunks):
            first = self.dense(here).flatten(1) / self.outputs
            for there in chunks[: index + 1]:
                mean[here, there] += first @ self.dense(there).flatten(1).mT

    @abc.abstractmethod
    def adjoint(self, v: Tensor) -> dict[nn.Parameter, Tensor]:
        """J_l^T v, by parameter, for v (n, d_out)."""

    @abc.abstractmethod
    def apply(self, change: Change, rows: slice = ALL_ROWS) -> Tensor:
        """J_l Delta, (n, d_out), or some rows of it."""

    @abc.abstractmethod
    def dense(self, rows: slice) -> Tensor:
        """The per-example gradients of some rows of the batch, (m, d_out, P_l)."""


@dataclass(frozen=True, eq=False)
class PairTerm:
    """G[i, j] (A_i B_j^T)[a, b]: a part of the tangent kernel, the Hadamard product of two Gram matrices.

    Attributes:
        gram: G, (n, n), of the layer's features; the lower triangle.
        first, second: A and B, (n, d_out, q), the derivatives of the outputs by the layer's output.
    """

    gram: Tensor
    first: Tensor
    second: Tensor


def add_pair_terms(terms: Sequence[PairTerm], kernel: Tensor) -> None:
    """Add the terms to the lower triangle of `kernel`, (n d_out, n d_out), a tile at a time for all of them.

    A tile stays in the processor's cache while the layers are summed up; the kernel is touched once.
    """
    if not terms:
        return
    n, d, _ = terms[0].first.shape
    step = max(1, TILE // d)
    for start in range(0, n, step):
        here = slice(start, min(start + step, n))
        for before in range(0, start + 1, step):
            there = slice(before, min(before + step, n))
            tile: Tensor | None = None
            for term in terms:
                gram = term.gram[here, None, there, None]
                product = term.first[here].flatten(0, 1) @ term.second[there].flatten(0, 1).mT
                product = product.view(here.stop - start, d, there.stop - before, d)
                tile = product.mul_(gram) if tile is None else tile.addcmul_(product, gram)
            assert tile is not None
            kernel[start * d : here.stop * d, before * d : there.stop * d] += tile.flatten(2).flatten(0, 1)


class AffineBlock(Block):
    """J_l of a layer phi W^T + b: row (i, a) is the sum over positions t of A_ia,t (phi_i,t, 1).

    Its part of the kernel is the sum over pairs of positions (phi_is . phi_jt + 1)(A_ia,s . A_jb,t), or the product
    of per-example gradients, whichever costs less.

    Args:
        weight: the parameter that holds W; None for a bias alone.
        bias: b, or None.
        features: phi, (n, T, p), of width 0 where there is no weight.
        cotangents: A, (n, d_out, T, q): the derivative of the outputs by the layer's output.
        groups: blocks of the block-diagonal W.
        transposed: whether the parameter holds W^T.
        product: phi as a product Z V, where it is one and T = 1.
    """

    def __init__(
        self,
        weight: nn.Parameter | None,
        bias: nn.Parameter | None,
        features: Tensor,
        cotangents: Tensor,
        *,
        groups: int = 1,
        transposed: bool = False,
        product: Product | None = None,
    ) -> None:
        self.weight, self.bias = weight, bias
        self.features, self.cotangents = features, cotangents
        self.groups, self.transposed = groups, transposed
        self.product = product
        self.parameters = tuple(p for p in (weight, bias) if p is not None)
        self.rows, self.outputs, self.positions, _ = cotangents.shape

    def map(self) -> Features:
        """The linear map [phi, 1] of a layer with one position, that is its features at the batch."""
        return Features.of(self.features[:, 0], bias=self.bias is not None, product=self.product)

    def pair_terms(self) -> list[PairTerm]:
        return self._pair_terms if self._pairs_are_cheaper() else []

    @functools.cached_property
    def _pair_terms(self) -> list[PairTerm]:
        a, positions = self.cotangents, range(self.positions)
        return [PairTerm(self._features_gram(s, t), a[:, :, s], a[:, :, t]) for s in positions for t in positions]

    def add_gram(self, kernel: Tensor) -> None:
        if not self._pairs_are_cheaper():
            for gradients in self._gradients(slice(0, self.rows)):  # (n, d_out, P'), a part of the columns at a time
                add_lower_product(gradients.flatten(0, 1), kernel, TILE)

    def _pairs_are_cheaper(self) -> bool:
        p, q, d = self.features.shape[2], self.cotangents.shape[3], self.outputs
        pairs = self.positions**2 * (p + d * d * (q + 1))
        return self.groups == 1 and pairs <= d * d * p * q + d * d * q

    def add_mean_gram(self, mean: Tensor) -> None:
        if not self._pairs_are_cheaper():
            super().add_mean_gram(mean)
            return
        for term in self.pair_terms():
            mean += term.gram * (term.first.flatten(1) @ term.second.flatten(1).mT) / self.outputs

    def _features_gram(self, s: int, t: int) -> Tensor:
        """phi_is . phi_jt + 1, (n, n), in the features' dtype; for s = t the lower triangle."""
        if self.positions == 1:
            return self.map().gram().to(self.features.dtype)
        return self.features[:, s] @ self.features[:, t].mT + float(self.bias is not None)

    def _gradients(self, rows: slice) -> Iterator[Tensor]:
        """Per-example gradients of the entries of W and b, (m, d_out, P'), some outputs of the layer at a time."""
        phi, a = self.features[rows], self.cotangents[rows]  # (m, T, groups p), (m, d_out, T, groups q)
        if self.bias is not None:
            yield a.sum(2)
        if self.weight is None:
            return
        phi = phi.unflatten(-1, (self.groups, -1))
        a = a.unflatten(-1, (self.groups, -1))
        step = max(1, ENTRIES // max(1, a.shape[0] * self.outputs * self.groups * phi.shape[-1]))
        for part in a.split(step, dim=-1):
            # b: rows, d: outputs, t: positions, g: groups, q and p: outputs and features of the layer
            yield torch.einsum("bdtgq,btgp->bdgqp", part, phi).flatten(2)

    def adjoint(self, v: Tensor) -> dict[nn.Parameter, Tensor]:
        u = torch.einsum("bdtq,bd->btq", self.cotangents, v)  # A^T v, the layer's target
        found: dict[nn.Parameter, Tensor] = {}
        if self.weight is not None:
            if self.product is not None:  # T = 1: (Z V)^T u = V^T (Z^T u)
                delta = (u[:, 0].mT @ self.product.rows) @ self.product.basis
            elif self.groups == 1:
                delta = u.flatten(0, 1).mT @ self.features.flatten(0, 1)  # (q, p)
            else:
                split = (self.groups, -1)
                delta = torch.einsum("btgq,btgp->gqp", u.unflatten(-1, split), self.features.unflatten(-1, split))
            delta = delta.mT if self.transposed else delta
            found[self.weight] = delta.reshape(self.weight.shape)
        if self.bias is not None:
            found[self.bias] = u.sum((0, 1)).view_as(self.bias)
        return found

    def apply(self, change: Change, rows: slice = ALL_ROWS) -> Tensor:
        features, cotangents = self.features[rows], self.cotangents[rows]
        moved: Tensor | None = None
        if self.weight is not None and self.weight in change:
            delta = change[self.weight]
            if self.groups == 1:
                delta = delta if self.transposed else delta.flatten(1).mT  # (p, q)
                if self.product is None:
                    moved = features @ delta
                else:
                    moved = self._by_product(self.product.rows[rows], self.product.basis, delta).unsqueeze(1)
            else:
                split = (self.groups, -1)
                delta = delta.flatten(1).unflatten(0, split)  # (g, q, p)
                moved = torch.einsum("btgp,gqp->btgq", features.unflatten(-1, split), delta).flatten(2)
        if self.bias is not None and self.bias in change:
            shift = change[self.bias].flatten()
            moved = shift.expand(len(cotangents), self.positions, -1) if moved is None else moved + shift
        if moved is None:
            return cotangents.new_zeros(len(cotangents), self.outputs)
        return torch.einsum("btq,bdtq->bd", moved, cotangents)

    @staticmethod
    def _by_product(z: Tensor, basis: Tensor, delta: Tensor) -> Tensor:
        """Z V Delta in the cheaper order."""
        return (z @ basis) @ delta if len(z) < len(basis) else z @ (basis @ delta)

    def dense(self, rows: slice) -> Tensor:
        parts = list(self._gradients(rows))
        bias = parts.pop(0) if self.bias is not None else None
        columns: list[Tensor] = []
        if self.weight is not None:
            # Parts of the layer's outputs lie next to each other within each group.
            m, p = len(parts[0]), self.features.shape[2] // self.groups
            whole = torch.cat([part.view(m, self.outputs, self.groups, -1, p) for part in parts], dim=3)
            columns.append((whole.transpose(-1, -2) if self.transposed else whole).flatten(2))
        return torch.cat([*columns, *([] if bias is None else [bias])], dim=2)


class GradientBlock(Block):
    """J_l by per-example gradients that are held: of scales, and of whatever is no affine layer.

    Args:
        parameters: whose gradients these are, in order.
        gradients: (n, d_out, P_l).
    """

    def __init__(self, parameters: Sequence[nn.Parameter], gradients: Tensor) -> None:
        self.parameters = tuple(parameters)
        self.gradients = gradients
        self.rows, self.outputs = gradients.shape[:2]

    def add_gram(self, kernel: Tensor) -> None:
        add_lower_product(self.gradients.flatten(0, 1), kernel, TILE)

    def adjoint(self, v: Tensor) -> dict[nn.Parameter, Tensor]:
        flat = v.flatten() @ self.gradients.flatten(0, 1)
        parts = flat.split([p.numel() for p in self.parameters])
        return {p: part.view_as(p) for p, part in zip(self.parameters, parts, strict=True)}

    def apply(self, change: Change, rows: slice = ALL_ROWS) -> Tensor:
        zeros: Any = self.gradients.new_zeros
        flat = torch.cat([change[p].flatten() if p in change else zeros(p.numel()) for p in self.parameters])
        return self.gradients[rows] @ flat

    def dense(self, rows: slice) -> Tensor:
        return self.gradients[rows]
