"""Derivatives of a loss by its outputs, row by row, had from its values by automatic differentiation."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

Value = Callable[[Tensor, Tensor], Tensor]
"""Outputs (n, d_out) and n targets to n values, each of its own row alone."""


def row_gradients(value: Value, outputs: Tensor, targets: Tensor) -> Tensor:
    """The gradient of every row's value by its outputs: (n, d_out), detached."""
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        return torch.autograd.grad(value(leaf, targets).sum(), leaf)[0]


def row_hessians(value: Value, outputs: Tensor, targets: Tensor) -> Tensor:
    """The Hessian of every row's value by its outputs: (n, d_out, d_out), detached, symmetric to rounding."""

    def of_one(row: Tensor, target: Tensor) -> Tensor:
        return value(row.unsqueeze(0), target.unsqueeze(0)).sum()

    outputs = outputs.detach()
    try:
        hessians = torch.func.vmap(torch.func.hessian(of_one))(outputs, targets)
    except RuntimeError:
        # torch cannot vectorise every function (branches on values, `.item()`, operations without forward-mode
        # derivatives). Differentiated row by row they all work; a fault in `value` itself is raised again here.
        rows = zip(outputs, targets, strict=True)
        hessians = torch.stack([_row_hessian(of_one, row, target) for row, target in rows])
    return 0.5 * (hessians + hessians.mT)


def _row_hessian(value: Value, row: Tensor, target: Tensor) -> Tensor:
    hessian = torch.autograd.functional.hessian(lambda row: value(row, target), row)
    return cast(Tensor, hessian)  # of one tensor it is one; torch declares what it may be for several
