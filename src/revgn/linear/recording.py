"""One pass through a module that records its layers: what each saw, and how the outputs depend on what it gave."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from revgn.linear.features import joined
from revgn.linear.functional import Inputs, call, plain_kernels
from revgn.linear.jacobian_blocks import ALL_ROWS, AffineBlock, Block, GradientBlock
from revgn.linear.layers import Affine, Use, is_known, layer_uses


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer.

    Attributes:
        uses: how its outputs depend on its parameters.
        edge: where the gradient by its outputs arrives, whatever later works on them in place.
        shape: of its outputs.
        inputs, version: what it saw, and how often that had been overwritten by then.
    """

    uses: list[Use]
    edge: GradientEdge
    shape: torch.Size
    inputs: Tensor
    version: int

    @property
    def parameters(self) -> set[nn.Parameter]:
        return {p for use in self.uses for p in use.parameters}


def record(model: nn.Module, inputs: Inputs, parameters: Collection[nn.Parameter]) -> tuple[Tensor, list[Call]]:
    """Run the module with autograd on, recording the layers that hold some of the parameters.

    Returns:
        The outputs F, (n, d_out), with their graph, and the calls of layers that are known, in order, without those of
        parameters for whose uses the recording cannot vouch.
    """
    chosen = set(parameters)
    calls: list[Call] = []
    watched = [m for m in model.modules() if is_known(m) and chosen.intersection(m.parameters(recurse=False))]
    try:
        for module in watched:  # between the hooks of each module, which may change both ends
            vars(module)["forward"] = _recorder(module, chosen, calls)
        with torch.enable_grad(), plain_kernels(model):
            outputs = call(model, inputs)
    finally:
        for module in watched:
            del vars(module)["forward"]
    missed: set[nn.Parameter] = set()
    for one in calls:
        # Values that were overwritten since are not what the layer saw; other layouts do not say which row is whose.
        if one.inputs._version != one.version or not one.shape or one.shape[0] % len(outputs):
            missed |= one.parameters
    return outputs, [one for one in calls if missed.isdisjoint(one.parameters)]


def _recorder(module: nn.Module, chosen: set[nn.Parameter], calls: list[Call]) -> Any:
    forward = module.forward

    def recording_forward(*args: Any, **kwargs: Any) -> Any:
        outputs = forward(*args, **kwargs)
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        if isinstance(outputs, Tensor) and isinstance(inputs, Tensor) and outputs.requires_grad:
            with torch.no_grad():
                uses = [_restricted(use, chosen) for use in layer_uses(module, inputs)]
            # The edge is taken here and now: what works on the outputs in place moves them to another node.
            calls.append(Call(uses, get_gradient_edge(outputs), outputs.shape, inputs, inputs._version))
        return outputs

    return recording_forward


def _restricted(use: Use, chosen: set[nn.Parameter]) -> Use:
    """The use without the parameters that are not chosen, and without features that no parameter needs."""
    weight, bias = (p if p in chosen else None for p in (use.weight, use.bias))
    if weight is None:
        return Affine(None, bias, None, use.positions)
    return Affine(weight, bias, use.features, use.positions, use.groups, use.transposed, use.product)


def blocks(outputs: Tensor, calls: list[Call], seeds: Sequence[Tensor | None] | None = None) -> list[Block]:
    """The Jacobian's columns of all recorded parameters: a backward pass to the layers for each seed.

    One block a parameter, or a weight with its bias; several uses of one parameter are as many positions more.

    Args:
        outputs: F with its graph, as `record` gives it.
        calls: of the layers, likewise.
        seeds: what is differentiated, as cotangents of the outputs, (n, d_out) each: the blocks are those of a network
            whose outputs are sum_a seed_ia F_ia. A seed of None is zero and costs no pass. None in their place: the
            outputs themselves, d_out seeds.
    """
    uses: list[tuple[Use, Tensor]] = []
    places: dict[nn.Parameter, list[int]] = {}
    seeds = _each_output(outputs) if seeds is None else seeds
    for one, a in zip(calls, _cotangents(outputs, calls, seeds), strict=True):
        for use in one.uses:
            for p in use.parameters:
                places.setdefault(p, []).append(len(uses))
            n, d, m = a.shape[:3]  # m rows of the layer for each of the batch
            uses.append((use, use.positions(a.flatten(0, 2)).unflatten(0, (n, d, m)).flatten(2, 3)))
    # A weight goes with its bias where each is used only with the other.
    together: dict[tuple[int, ...], list[nn.Parameter]] = {}
    for p, where in places.items():
        together.setdefault(tuple(where), []).append(p)
    found = [_block(parameters, [uses[index] for index in where]) for where, parameters in together.items()]
    return [block for block in found if block is not None]


def _each_output(outputs: Tensor) -> list[Tensor]:
    """The seeds of the outputs themselves. Rows are independent: one of all rows gives each row's own derivative."""
    units = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
    return [unit.expand_as(outputs) for unit in units]


def _cotangents(outputs: Tensor, calls: list[Call], seeds: Sequence[Tensor | None]) -> list[Tensor]:
    """The derivative A of the seeded outputs by what each layer gave, (n, seeds, ...), in one backward pass a seed."""
    n, d = len(outputs), len(seeds)
    shapes = [(n, d, one.shape[0] // n, *one.shape[1:]) for one in calls]
    zero = outputs.new_zeros(())
    whole = [zero.expand(shape) if d == 1 else outputs.new_zeros(shape) for shape in shapes]
    edges = [one.edge for one in calls]
    for index, seed in enumerate(seeds if calls and outputs.requires_grad else ()):
        if seed is None:
            continue
        found: Any = torch.autograd.grad(outputs, edges, seed, retain_graph=True, allow_unused=True)
        for place, gradient in enumerate(found):
            if gradient is None:
                continue
            if d == 1:  # as it is, without a copy
                whole[place] = gradient.reshape(shapes[place])
            else:
                whole[place][:, index] = gradient.reshape(n, *shapes[place][2:])
    return whole


def _block(parameters: list[nn.Parameter], uses: list[tuple[Use, Tensor]]) -> Block | None:
    """The columns of a weight, a bias or both, at all their uses; None where these are not alike."""
    p, first = parameters[0], uses[0][0]
    if len({(use.weight is p, use.groups, use.transposed) for use, _ in uses}) > 1:
        return None  # an embedding that is also an output layer, say
    a = joined([cotangents for _, cotangents in uses], dim=2)  # (n, d_out, T, q)
    n, _, positions, q = a.shape
    if first.weight is p:
        seen = [use.features.reshape(n, -1, use.features.shape[-1]) for use, _ in uses if use.features is not None]
        product = first.product if len(uses) == 1 and positions == 1 else None
        bias = first.bias if len(parameters) == 2 else None
        block = AffineBlock(p, bias, joined(seen, dim=1), a, first.groups, first.transposed, product)
        if positions == 1 or sum(p.numel() for p in parameters) > positions * q:
            return block
        gradients = block.dense(ALL_ROWS)  # no larger than the cotangents, which need not be kept
    else:
        gradients = a.sum(2)
    return GradientBlock.held(parameters, gradients)
