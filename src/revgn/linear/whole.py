"""The Jacobian of outputs that may depend on all rows of a batch: solutions of equations, sums over data."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from revgn._sizes import require_room
from revgn.linear.functional import Whole, call, full_precision, jvp, plain_kernels, pull_back
from revgn.linear.jacobian import Jacobian, check_parameters
from revgn.linear.jacobian_blocks import Block, GradientBlock


class WholeJacobian(Jacobian):
    """J of a module at a batch whose rows may depend on each other, by as many passes as there are columns or rows.

    Args:
        model: called with the batch; outputs (n, d_out).
        inputs: the batch.
        parameters: those to differentiate by.

    Raises:
        MemoryError: J would take more memory than the machine has.
    """

    def __init__(self, model: nn.Module, inputs: Whole, parameters: Sequence[nn.Parameter]) -> None:
        self.model, self.inputs, self.parameters = model, inputs, tuple(parameters)
        check_parameters(model, self.parameters)
        self.device = self.parameters[0].device
        with torch.no_grad(), full_precision(self.device), plain_kernels(model):
            self.outputs = call(model, inputs)
        self.rows, self.d_out = self.outputs.shape
        self.dtype = self.outputs.dtype

    @functools.cached_property
    def blocks(self) -> Sequence[Block]:
        outputs, entries = self.shape
        require_room(outputs * entries * self.dtype.itemsize, f"the Jacobian, {outputs} by {entries},")
        with full_precision(self.device):
            dense = self._by_columns() if entries <= outputs else self._by_rows()
        return [GradientBlock.held(self.parameters, dense.view(self.rows, self.d_out, -1))]

    def _by_columns(self) -> Tensor:
        columns: list[Tensor] = []
        for p in self.parameters:
            for index in range(p.numel()):
                one = torch.zeros(p.numel(), dtype=p.dtype, device=p.device)
                one[index] = 1.0
                columns.append(jvp(self.model, self.inputs, {p: one.view_as(p)})[1].flatten())
        return torch.stack(columns, dim=1)

    def _by_rows(self) -> Tensor:
        with torch.enable_grad(), plain_kernels(self.model):
            outputs = call(self.model, self.inputs)
            rows = torch.eye(outputs.numel(), dtype=self.dtype, device=self.device)
            pulled = [pull_back(outputs, self.parameters, row.view_as(outputs)) for row in rows]
        return torch.stack([torch.cat([g.flatten() for g in row]) for row in pulled])
