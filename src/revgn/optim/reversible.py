"""The right inverse of the Jacobian by way of the inverse network (Buffelli et al. 2024, section 4)."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from revgn.nn import Coupling, Point, ReversibleBlock, ReversibleNetwork
from revgn.nn.blocks import halves
from revgn.solvers import Solution

Solve = Callable[[Coupling, Point, Tensor], Solution]
"""Solves [Phi, 1] Delta = u for a coupling, its features at the batch, and a target u (n, d/2)."""


@dataclass(frozen=True, eq=False)
class BlockStep:
    """The step of one block: alone it moves the outputs by the whole direction, if the block is surjective.

    Attributes:
        steps: the step of each of the block's parameters, by the parameter's name in the network.
        ranks, defects: numerical rank of the features of f and g, and how much of their targets they left.
        surjective: whether both defects are no more than one Newton step may leave.
    """

    steps: dict[str, Tensor]
    ranks: tuple[int, int]
    defects: tuple[float, float]
    surjective: bool


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """Outputs F, the last state, and the kept points of blocks by index; the others are rebuilt backwards."""

    outputs: Tensor
    state: Tensor
    points: Mapping[int, Any]
    chunk_rows: int | None


def forward_pass(
    network: ReversibleNetwork, inputs: Tensor, *, keep_from: int, chunk_rows: int | None = None
) -> ForwardPass:
    """Run the network on inputs (n, in_features), keeping the features of the blocks from `keep_from` up.

    With chunk_rows no more rows of features than that are held at once, and none are kept.
    """
    state = network.lifted(inputs)
    points: dict[int, Any] = {}
    for index, block in enumerate(network.layers):
        state, point = block.linearize(state, chunk_rows)
        if index >= keep_from:
            points[index] = point
        del point  # else its features would live on beside the next block's
    return ForwardPass(state @ network.readout, state, points, chunk_rows)


def block_steps(
    network: ReversibleNetwork, forward: ForwardPass, direction: Tensor, wanted: Collection[int], solve: Solve
) -> Iterator[tuple[int, BlockStep]]:
    """The steps of the wanted blocks, from the last to the first, each of which moves the outputs by `direction`.

    Lazy: what the consumer does not ask for is neither solved nor pulled back.
    """
    readout = network.readout_inverse()
    tangent = direction @ readout  # T_L = r U^+
    state = forward.state
    layers = network.layers
    lowest = min(wanted, default=len(layers))
    for index in reversed(range(lowest, len(layers))):
        block = layers[index]
        if index in forward.points:
            point = forward.points[index]
        else:
            state, point = block.unwind(state, forward.chunk_rows)
        if index not in wanted or not isinstance(block, ReversibleBlock):
            tangent = block.pull_back(point, tangent)
            continue
        ta_out, tb_out = halves(tangent)
        tb = tb_out - block.g.jvp(point.g, ta_out)
        if index == len(layers) - 1 and direction.shape[1] < ta_out.shape[1]:
            # The last block's ta' = r U_a^+ has rank d_out: solve for r alone.
            f = solve(block.f, point.f, direction).spread(halves(readout)[0])
        else:
            f = solve(block.f, point.f, ta_out)  # Delta_f = Phi_f^+ ta'
        # What f has moved reaches b' through g and must not be moved twice. Where f moves all of ta' this is tb.
        target = tb if f.exact else tb_out - block.g.jvp(point.g, f.moved)
        g = solve(block.g, point.g, target)  # Delta_g = Phi_g^+ (tb' - J_g[Phi_f Delta_f] W_g)
        yield index, _block_step(f"blocks.{index}", f, g)
        if index > lowest:
            ta = ta_out - block.f.jvp(point.f, tb)
            tangent = torch.cat((ta, tb), dim=-1)


def _block_step(name: str, f: Solution, g: Solution) -> BlockStep:
    """The block's step without the features it was solved from, whose memory it would hold."""
    steps: dict[str, Tensor] = {}
    for half, solution in (("f", f), ("g", g)):
        steps[f"{name}.{half}.linear.weight"] = solution.delta.mT
        if solution.bias is not None:
            steps[f"{name}.{half}.linear.bias"] = solution.bias
    return BlockStep(steps, (f.rank, g.rank), (f.defect, g.defect), f.surjective and g.surjective)
