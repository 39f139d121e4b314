"""The columns of a Jacobian that belong to one layer, and their part of the tangent kernel."""

import abc
import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revgn.linear.features import Features, Product, add_lower_product, joined, split_rows
from revgn.linear.functional import Change, by_parameter

# Rows of the tiles in which the lower triangle of a tangent kernel is formed: 1 MB of float32, for the cache's sake.
TILE = 512
# Entries of per-example gradients that are held at once beyond what a layer keeps: 256 MiB in float32.
ENTRIES = 2**26
ALL_ROWS = slice(None)


def are_all(rows: "slice | Tensor") -> bool:
    """Whether these rows are all rows."""
    return isinstance(rows, slice) and rows == ALL_ROWS


PairTerm = tuple[Tensor, Tensor, Tensor]
"""G[i, j] (A_i B_j^T)[a, b], a part of a tangent kernel, as G (n, n), A and B (n, d_out, q): the lower triangle of the
Gram matrix of a layer's features, and derivatives of the outputs by the layer's output."""


class Block(abc.ABC):
    """J_l, (n d_out, P_l): the derivative of the outputs by one layer's parameters.

    A subclass implements `dense`, and whatever it can do without per-example gradients.

    Attributes:
        parameters: whose columns these are, in order.
        rows, outputs: n and d_out.
    """

    parameters: tuple[nn.Parameter, ...]
    rows: int
    outputs: int

    @abc.abstractmethod
    def dense(self, rows: "slice | Tensor") -> Tensor:
        """The per-example gradients of some rows of the batch, (m, d_out, P_l)."""

    @abc.abstractmethod
    def with_rows(self, everywhere: Callable[[Tensor], Tensor]) -> "Block":
        """The block of all rows of a batch, given those that lie in this process and what gathers the others."""

    @property
    def chunks(self) -> list[slice]:
        """The batch in slices of rows of which all gradients can be held at once."""
        return split_rows(self.rows, ENTRIES // max(1, self.outputs * sum(p.numel() for p in self.parameters)))

    @functools.cached_property
    def pair_terms(self) -> Sequence[PairTerm]:
        """The terms of J_l J_l^T that are Hadamard products; `add_gram` gives the others."""
        return ()

    def add_gram(self, kernel: Tensor) -> None:
        """Add what `pair_terms` leaves out to the lower triangle of `kernel`.

        The kernel is J_l J_l^T, (n d_out, n d_out), or the sum over outputs of its diagonal blocks, (n, n).
        """
        d = len(kernel) // self.rows
        for index, here in enumerate(self.chunks):
            first = _by_rows(self.dense(here), d)
            place = slice(here.start * d, here.stop * d)
            add_lower_product(first, kernel[place, place], TILE)
            for before in self.chunks[:index]:  # made again for every pair: two chunks are all that is held
                kernel[place, before.start * d : before.stop * d] += first @ _by_rows(self.dense(before), d).mT

    def add_strip(self, strip: Tensor, here: slice) -> None:
        """Add J_l[here] J_l[:here.stop]^T, rows of the lower triangle as `add_gram` and `pair_terms` make it whole."""
        d = len(strip) // (here.stop - here.start)
        first = _by_rows(self.dense(here), d)
        for there in split_rows(here.stop, self.chunks[0].stop):
            strip[:, there.start * d : there.stop * d] += first @ _by_rows(self.dense(there), d).mT

    def adjoint(self, v: Tensor) -> dict[nn.Parameter, Tensor]:
        """J_l^T v, by parameter, for v (n, d_out)."""
        flat = torch.stack([v[here].flatten() @ self.dense(here).flatten(0, 1) for here in self.chunks]).sum(0)
        return by_parameter(flat, self.parameters)

    def apply(self, change: Change, rows: "slice | Tensor" = ALL_ROWS) -> Tensor:
        """J_l Delta, (n, d_out), or some rows of it."""
        flat = torch.cat([change.get(p, torch.zeros_like(p)).flatten() for p in self.parameters])
        return torch.cat([self.dense(here) @ flat for here in (self.chunks if are_all(rows) else [rows])])


@dataclass(eq=False)
class GradientBlock(Block):
    """J_l by `gradients` of slices of rows, (m, d_out, P_l), which are kept where those of all rows can be held."""

    parameters: tuple[nn.Parameter, ...]
    rows: int
    outputs: int
    gradients: "Callable[[slice | Tensor], Tensor]"

    @classmethod
    def held(cls, parameters: Sequence[nn.Parameter], gradients: Tensor) -> "GradientBlock":
        """The block of gradients (n, d_out, P_l) that are at hand."""
        n, d, _ = gradients.shape
        return cls(tuple(parameters), n, d, gradients.__getitem__)

    def dense(self, rows: "slice | Tensor") -> Tensor:
        return self.gradients(rows) if len(self.chunks) > 1 else self._all[rows]

    def with_rows(self, everywhere: Callable[[Tensor], Tensor]) -> "GradientBlock":
        return self.held(self.parameters, everywhere(self.gradients(ALL_ROWS)))

    @functools.cached_property
    def _all(self) -> Tensor:
        return self.gradients(ALL_ROWS)


@dataclass(eq=False)
class AffineBlock(Block):
    """J_l of a layer phi W^T + b: row (i, a) is the sum over positions t of A_ia,t (phi_i,t, 1).

    Its part of the kernel is the sum over pairs of positions (phi_is . phi_jt + 1)(A_ia,s . A_jb,t), or the product
    of per-example gradients, whichever costs less.

    Attributes:
        weight, bias, features, groups, transposed: as of `Affine`, all uses of the weight one after another in T.
        cotangents: A, (n, d_out, T, q): the derivative of the outputs by the layer's output.
        product: phi as a product Z V, where it is one and T = 1.
        gram: phi phi^T, (n, n), and 1 where there is a bias, if that is at hand and T = 1; its lower triangle is read.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    features: Tensor
    cotangents: Tensor
    groups: int = 1
    transposed: bool = False
    product: Product | None = None
    gram: Tensor | None = None

    def __post_init__(self) -> None:
        self.parameters = (self.weight,) if self.bias is None else (self.weight, self.bias)
        self.rows, self.outputs, self.positions, _ = self.cotangents.shape

    def map(self) -> Features:
        """The linear map [phi, 1] of a layer, (n T, p + 1): its features at the batch, those of each row together."""
        return Features.of(self.features.flatten(0, 1), bias=self.bias is not None, product=self.product)

    @property
    def plain(self) -> bool:
        """Whether the layer is phi W^T + b with one W of shape (q, p)."""
        return self.groups == 1 and not self.transposed

    def by_parameter(self, delta: Tensor, bias: Tensor | None) -> dict[nn.Parameter, Tensor]:
        """A vector of the domain of `map` as changes of the weight and the bias of a plain layer."""
        found = {self.weight: delta.mT.reshape(self.weight.shape)}
        if self.bias is not None and bias is not None:
            found[self.bias] = bias.view_as(self.bias)
        return found

    @property
    def pairs_are_cheaper(self) -> bool:
        """Than products of per-example gradients."""
        p, q, d = self.features.shape[2], self.cotangents.shape[3], self.outputs
        return self.groups == 1 and self.positions**2 * (p + d * d * (q + 1)) <= d * d * p * q + d * d * q

    @functools.cached_property
    def pair_terms(self) -> Sequence[PairTerm]:
        if not self.pairs_are_cheaper:
            return ()
        phi, a = self.features, self.cotangents
        if self.positions == 1:
            return [(self.map().gram().to(phi.dtype), a[:, :, 0], a[:, :, 0])]
        one = float(self.bias is not None)
        pairs_of_positions = itertools.product(range(self.positions), repeat=2)
        return [(phi[:, s] @ phi[:, t].mT + one, a[:, :, s], a[:, :, t]) for s, t in pairs_of_positions]

    def add_gram(self, kernel: Tensor) -> None:
        if self.pair_terms:
            return
        d = len(kernel) // self.rows
        if self.bias is not None:
            add_lower_product(_by_rows(self.cotangents.sum(2), d), kernel, TILE)
        # Some outputs of the layer at a time: gradients of some rows would be made again for every pair.
        step = ENTRIES // max(1, self.rows * self.outputs * self.features.shape[2])
        for some in split_rows(self.cotangents.shape[3] // self.groups, step):
            add_lower_product(_by_rows(self._weight_gradients(some, ALL_ROWS), d), kernel, TILE)

    def with_rows(self, everywhere: Callable[[Tensor], Tensor]) -> "AffineBlock":
        cotangents = everywhere(self.cotangents)
        if self.product is None:
            return dataclasses.replace(self, features=everywhere(self.features), cotangents=cotangents)
        product = Product(everywhere(self.product.rows), self.product.basis)  # narrower: less to gather
        features = (product.rows @ product.basis).unsqueeze(1)
        return dataclasses.replace(self, features=features, cotangents=cotangents, product=product)

    def add_strip(self, strip: Tensor, here: slice) -> None:
        if not self.pairs_are_cheaper:
            return super().add_strip(strip, here)
        rows, d = here.stop - here.start, len(strip) // (here.stop - here.start)
        phi, a = self.features, self.cotangents
        by_row = strip.view(rows, d, here.stop, d)
        for s, t in itertools.product(range(self.positions), repeat=2):
            if self.gram is not None:
                gram = self.gram[here, : here.stop]
            else:
                gram = phi[here, s] @ phi[: here.stop, t].mT + float(self.bias is not None)
            pairs = _by_rows(a[here, :, s], d) @ _by_rows(a[: here.stop, :, t], d).mT
            by_row.addcmul_(pairs.view_as(by_row).to(strip.dtype), gram[:, None, :, None].to(strip.dtype))
        return None

    def dense(self, rows: "slice | Tensor") -> Tensor:
        gradients = self._weight_gradients(ALL_ROWS, rows)
        columns = [(gradients.mT if self.transposed else gradients).flatten(2)]
        if self.bias is not None:
            columns.append(self.cotangents[rows].sum(2))
        return joined(columns, dim=2)

    def _weight_gradients(self, some: slice, rows: "slice | Tensor") -> Tensor:
        """Per-example gradients of W, (m, d_out, groups, q', p), for some of each group's outputs."""
        a, phi = self._by_group(self.cotangents[rows])[..., some], self._by_group(self.features[rows])
        # b: rows, d: outputs, t: positions, g: groups, q and p: outputs and features of the layer
        return torch.einsum("bdtgq,btgp->bdgqp", a, phi)

    def _by_group(self, tensor: Tensor) -> Tensor:
        return tensor.unflatten(-1, (self.groups, -1))

    def target(self, v: Tensor) -> Tensor:
        """A^T v, (n, T, q), for v (n, d_out): what the layer's outputs are to move by."""
        return torch.einsum("bdtq,bd->btq", self.cotangents, v)

    def adjoint(self, v: Tensor) -> dict[nn.Parameter, Tensor]:
        u = self.target(v)
        if self.product is not None:  # T = 1: (Z V)^T u = V^T (Z^T u)
            delta = (u[:, 0].mT @ self.product.rows) @ self.product.basis
        else:
            delta = torch.einsum("btgq,btgp->gqp", self._by_group(u), self._by_group(self.features))
        found = {self.weight: (delta.mT if self.transposed else delta).reshape(self.weight.shape)}
        if self.bias is not None:
            found[self.bias] = u.sum((0, 1)).view_as(self.bias)
        return found

    def apply(self, change: Change, rows: "slice | Tensor" = ALL_ROWS) -> Tensor:
        features, cotangents = self.features[rows], self.cotangents[rows]
        moved = cotangents.new_zeros(1, 1, 1)
        if self.weight in change:
            delta = change[self.weight]
            delta = (delta.mT if self.transposed else delta).reshape(self.groups, -1, features.shape[2] // self.groups)
            if self.product is not None and len(self.product.basis) < len(features):  # Z (V Delta)
                moved = (self.product.rows[rows] @ (self.product.basis @ delta[0].mT)).unsqueeze(1)
            else:
                moved = torch.einsum("btgp,gqp->btgq", self._by_group(features), delta).flatten(2)
        if self.bias is not None and self.bias in change:
            moved = moved + change[self.bias].flatten()
        return torch.einsum("btq,bdtq->bd", moved, cotangents)


def add_pair_terms(terms: Sequence[PairTerm], kernel: Tensor) -> None:
    """Add the terms to the lower triangle of `kernel`, as `Block.add_gram`, a tile at a time for all of them.

    A tile stays in the processor's cache while the layers are summed up; the kernel is touched once.
    """
    if not terms:
        return
    n = len(terms[0][0])
    d = len(kernel) // n
    chunks = split_rows(n, TILE // d)
    for index, here in enumerate(chunks):
        for there in chunks[: index + 1]:
            shape = here.stop - here.start, d, there.stop - there.start, d
            tile = terms[0][1].new_zeros(shape)
            for gram, first, second in terms:
                product = _by_rows(first[here], d) @ _by_rows(second[there], d).mT
                tile.addcmul_(product.view(shape), gram[here, None, there, None])
            kernel[here.start * d : here.stop * d, there.start * d : there.stop * d] += tile.flatten(2).flatten(0, 1)


def _by_rows(gradients: Tensor, d: int) -> Tensor:
    """Gradients (m, d_out, P) as a matrix of d rows for each of the batch: d_out of them, or one of all outputs."""
    return gradients.reshape(len(gradients) * d, -1)
