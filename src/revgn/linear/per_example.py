"""Rows of the Jacobian by per-example gradients: for parameters of any kind, used in any way."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap
from torch.utils._pytree import tree_map

from revgn.linear.blocks import ALL_ROWS, ENTRIES, Block
from revgn.linear.features import add_lower_product
from revgn.linear.functional import (
    Change,
    Inputs,
    call,
    count_rows,
    plain_kernels,
    pull_back,
    requiring_grad,
    swapped,
    take,
)

Gradients = Callable[[nn.Module, Inputs, Sequence[nn.Parameter]], Tensor]
"""Per-example gradients (n, d_out, P) of a module's outputs at n rows by some of its parameters."""


def batched(model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> Tensor:
    """All rows at once, by torch.func; not every module allows it."""

    def outputs(values: tuple[Tensor, ...], row: Inputs) -> Tensor:
        with swapped(model, dict(zip(parameters, values, strict=True))):
            alone = tree_map(lambda leaf: leaf.unsqueeze(0) if isinstance(leaf, Tensor) else leaf, row)
            return call(model, alone).squeeze(0)

    values = tuple(p.detach() for p in parameters)
    with torch.no_grad(), plain_kernels(model), warnings.catch_warnings():
        # Where torch has no batching rule it loops over rows, and warns that this is slower.
        warnings.filterwarnings("ignore", message=".*batching rule", category=UserWarning)
        found: Any = vmap(jacrev(outputs), in_dims=(None, 0))(values, inputs)
    return torch.cat([g.reshape(*g.shape[:2], -1) for g in found], dim=2)


def one_by_one(model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> Tensor:
    """One backward pass for each output of each row, with the module's real parameters: slow, and always right."""
    found: list[Tensor] = []
    with torch.enable_grad(), plain_kernels(model), requiring_grad(parameters):
        for index in range(count_rows(inputs)):
            outputs = call(model, take(inputs, slice(index, index + 1)))
            for one in torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device):
                found.append(torch.cat([g.flatten() for g in pull_back(outputs, parameters, one.unsqueeze(0))]))
    return torch.stack(found).unflatten(0, (count_rows(inputs), -1))


class PerExampleBlock(Block):
    """J_l by per-example gradients that are made a chunk of rows at a time, and kept where they fit.

    Args:
        model, inputs: at which they are taken.
        parameters: whose columns these are, in order.
        outputs: d_out.
        gradients: the way to have them.
    """

    def __init__(
        self, model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter], outputs: int, gradients: Gradients
    ) -> None:
        self.model, self.inputs, self.gradients = model, inputs, gradients
        self.parameters = tuple(parameters)
        self.rows, self.outputs = count_rows(inputs), outputs
        self.columns = sum(p.numel() for p in self.parameters)
        step = max(1, ENTRIES // max(1, outputs * self.columns))
        self.chunks = [slice(start, min(start + step, self.rows)) for start in range(0, self.rows, step)]
        self._kept: Tensor | None = None

    def dense(self, rows: slice) -> Tensor:
        if len(self.chunks) > 1:
            return self.gradients(self.model, take(self.inputs, rows), self.parameters)
        if self._kept is None:
            self._kept = self.gradients(self.model, self.inputs, self.parameters)
        return self._kept[rows]

    def add_gram(self, kernel: Tensor) -> None:
        d = self.outputs
        for index, here in enumerate(self.chunks):
            first = self.dense(here).flatten(0, 1)
            place = slice(here.start * d, here.stop * d)
            add_lower_product(first, kernel[place, place])
            for before in self.chunks[:index]:  # made again for every pair: two chunks are all that is held
                kernel[place, before.start * d : before.stop * d] += first @ self.dense(before).flatten(0, 1).mT

    def adjoint(self, v: Tensor) -> dict[nn.Parameter, Tensor]:
        flat = sum(v[here].flatten() @ self.dense(here).flatten(0, 1) for here in self.chunks)
        assert isinstance(flat, Tensor)
        parts = flat.split([p.numel() for p in self.parameters])
        return {p: part.view_as(p) for p, part in zip(self.parameters, parts, strict=True)}

    def apply(self, change: Change, rows: slice = ALL_ROWS) -> Tensor:
        flat = torch.cat([change.get(p, torch.zeros_like(p)).flatten() for p in self.parameters])
        if rows != ALL_ROWS:
            return self.dense(rows) @ flat
        return torch.cat([self.dense(here) @ flat for here in self.chunks])
