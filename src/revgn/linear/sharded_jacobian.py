"""The Jacobian of a batch whose rows lie in several processes."""

import dataclasses
import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from revgn._sizes import require_room
from revgn.linear.functional import Change, Inputs, Whole, full_precision
from revgn.linear.jacobian import Jacobian
from revgn.linear.jacobian_blocks import ALL_ROWS, AffineBlock, Block, are_all
from revgn.linear.plan import one_by_one
from revgn.linear.shards import Shard
from revgn.linear.spread import SpreadFeatures
from revgn.linear.strips import Strips
from revgn.linear.whole import WholeJacobian


class ShardedJacobian(Jacobian):
    """J of all rows, each process with the blocks of its own; products and kernels are the same in all.

    `apply` gathers outputs, `adjoint` sums changes up, as a gradient of several processes is. For the kernel the
    cotangents of one layer at a time are gathered, never J, and its features; each process forms some of its rows.
    Features of a layer that has as many as there are rows are not gathered but exchanged, and its change is not summed
    up but put together, as of `SpreadFeatures`: less to send, and no process has them all.

    Args:
        model: in every process the same, with the same parameters.
        inputs: the batch.
        parameters: those to differentiate by.
    """

    inputs: Shard

    def __init__(self, model: nn.Module, inputs: Shard, parameters: Sequence[nn.Parameter]) -> None:
        self.model, self.inputs = model, inputs
        with inputs.together():
            self.local = Jacobian(model, inputs.local, parameters, compare_rows=False)
        self.parameters, self.device = self.local.parameters, self.local.device
        self.d_out, self.dtype = self.local.d_out, self.local.dtype
        self.rows = inputs.count
        self._agree_on_plan()

    def _agree_on_plan(self) -> None:
        """Layer by layer is what all processes found to be right on their rows."""
        plan = self.local._plan  # pyright: ignore[reportPrivateUsage]
        found = [*(p in set(plan.layered) for p in self.parameters), plan.gradients is not one_by_one]
        refused = self.inputs.processes.total(
            torch.tensor([not each for each in found], dtype=torch.int64, device=self.device)
        )
        *layered, batched = (refused == 0).tolist()
        self.local._plan = dataclasses.replace(  # pyright: ignore[reportPrivateUsage]
            plan,
            layered=tuple(p for p, each in zip(self.parameters, layered, strict=True) if each),
            gradients=plan.gradients if batched else one_by_one,
        )

    @functools.cached_property
    def outputs(self) -> Tensor:
        with self.inputs.together():
            local = self.local.outputs
        return self.inputs.everywhere(local)

    @functools.cached_property
    def blocks(self) -> Sequence[Block]:
        """The columns of J by layer, of the rows that lie here."""
        with self.inputs.together():
            return self.local.blocks

    def along(self, v: Tensor | None) -> Sequence[Block]:
        """As of `Jacobian`, for the rows that lie here."""
        with self.inputs.together():
            return self.local.along(None if v is None else self.inputs.here(v))

    def apply(self, change: Change, rows: slice | Tensor = ALL_ROWS) -> Tensor:
        shard = self.inputs
        if are_all(rows):
            with shard.together():
                local = self.local.apply(change)
            return shard.everywhere(local)
        some = shard.take(rows)
        with shard.together():
            local = self.local.apply(change, shard.places_here(rows))
        return some.everywhere(local)

    @functools.cached_property
    def _exchanged(self) -> dict[nn.Parameter, tuple[AffineBlock, SpreadFeatures]]:
        """The layers whose features are exchanged, and [phi, 1] of all rows."""
        found: dict[nn.Parameter, tuple[AffineBlock, SpreadFeatures]] = {}
        for block in self.blocks:
            if not isinstance(block, AffineBlock) or not block.plain or block.positions > 1:
                continue
            map = SpreadFeatures(block.map(), self.inputs)
            if map.wide and block.pairs_are_cheaper and block.product is None:  # a product has less to gather
                found[block.weight] = block, map
        return found

    def adjoint(self, v: Tensor) -> dict[nn.Parameter, Tensor]:
        shard = self.inputs
        v = shard.here(v)
        if "blocks" not in vars(self):
            with shard.together():
                local = self.local.adjoint(v)
            return {p: shard.total(moved) for p, moved in local.items()}
        found: dict[nn.Parameter, Tensor] = {}
        with full_precision(self.device):
            for block in self.blocks:
                found |= self._adjoint_of(block, v)
        return {p: found[p] for p in self.parameters}

    def _adjoint_of(self, block: Block, v: Tensor) -> dict[nn.Parameter, Tensor]:
        """J_l^T v of all rows by parameter, for the part of v whose rows lie here."""
        shard = self.inputs
        if block.parameters[0] in self._exchanged:
            layer, map = self._exchanged[block.parameters[0]]
            return layer.by_parameter(*map.adjoint(shard.everywhere(layer.target(v)[:, 0])))
        with shard.together():
            local = block.adjoint(v)
        return {p: shard.total(moved) for p, moved in local.items()}

    def _all_rows(self, block: Block) -> Block:
        """The block with what it takes to form rows of its kernel."""
        everywhere = self.inputs.everywhere
        if block.parameters[0] not in self._exchanged:
            return block.with_rows(everywhere)
        layer, map = self._exchanged[block.parameters[0]]
        gram = map.gram(layer.features.dtype)
        return dataclasses.replace(layer, cotangents=everywhere(layer.cotangents), gram=gram)

    def _summed(self, kernel: Tensor) -> Tensor:
        strips, repeat = Strips(self.inputs, self.rows), len(kernel) // self.rows
        parts = [kernel.new_zeros((s.stop - s.start) * repeat, s.stop * repeat) for s in strips.mine]
        for block in self.blocks:
            with full_precision(self.device):
                of_all = self._all_rows(block)
                for part, here in zip(parts, strips.mine, strict=True):
                    of_all.add_strip(part, here)
        return strips.assembled(parts, kernel, repeat)

    def dense(self) -> Tensor:
        outputs, entries = self.shape
        require_room(outputs * entries * self.dtype.itemsize, f"the Jacobian, {outputs} by {entries},")
        with self.inputs.together():
            local = self.local.dense()
        return self.inputs.everywhere(local)


def jacobian_of(model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> Jacobian:
    """The Jacobian as the batch needs it: row by row, of rows that may depend on each other, or over processes."""
    if isinstance(inputs, Shard):
        return ShardedJacobian(model, inputs, parameters)
    if isinstance(inputs, Whole):
        return WholeJacobian(model, inputs, parameters)
    return Jacobian(model, inputs, parameters, compare_rows=False)
