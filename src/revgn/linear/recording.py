"""One pass through a module that records its layers: what each saw, and how the outputs depend on what it gave."""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from revgn.linear.blocks import AffineBlock, Block, GradientBlock
from revgn.linear.functional import Inputs, call, plain_kernels
from revgn.linear.layers import Affine, Scaling, Use, is_known, layer_uses


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


@dataclass(eq=False)
class Recording:
    """What one pass through a module gave.

    Attributes:
        outputs: F, (n, d_out), with their graph.
        calls: those of layers that are known, in order.
        missed: parameters for whose uses the recording cannot vouch.
    """

    outputs: Tensor
    calls: list[Call]
    missed: set[nn.Parameter] = field(default_factory=set[nn.Parameter])


def record(model: nn.Module, inputs: Inputs, parameters: Collection[nn.Parameter]) -> Recording:
    """Run the module with autograd on, recording the layers that hold some of the parameters."""
    chosen = set(parameters)
    calls: list[Call] = []
    with torch.enable_grad(), plain_kernels(model), _recorded(model, chosen, calls):
        outputs = call(model, inputs)
    recording = Recording(outputs, calls)
    n = len(outputs)
    for one in calls:
        # Values that were overwritten since are not what the layer saw; other layouts do not say which row is whose.
        if one.inputs._version != one.version or not one.shape or one.shape[0] % n:
            recording.missed.update(_parameters(one.uses))
    return recording


@contextmanager
def _recorded(model: nn.Module, chosen: set[nn.Parameter], calls: list[Call]) -> Generator[None]:
    """Forward passes that append to `calls`, between the hooks of each module, which may change both ends."""
    known = [module for module in model.modules() if is_known(module)]
    watched = [module for module in known if chosen.intersection(module.parameters(recurse=False))]
    try:
        for module in watched:
            vars(module)["forward"] = _recorder(module, chosen, calls)
        yield
    finally:
        for module in watched:
            del vars(module)["forward"]


def _recorder(module: nn.Module, chosen: set[nn.Parameter], calls: list[Call]) -> Any:
    forward = module.forward

    def recording_forward(*args: Any, **kwargs: Any) -> Any:
        outputs = forward(*args, **kwargs)
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        if isinstance(outputs, Tensor) and isinstance(inputs, Tensor) and outputs.requires_grad:
            with torch.no_grad():
                uses = [_restricted(use, chosen) for use in layer_uses(module, inputs)]
            kept = [use for use in uses if use is not None]
            # The edge is taken here and now: what works on the outputs in place moves them to another node.
            calls.append(Call(kept, get_gradient_edge(outputs), outputs.shape, inputs, inputs._version))
        return outputs

    return recording_forward


def _restricted(use: Use, chosen: set[nn.Parameter]) -> Use | None:
    """The use without the parameters that are not chosen; None where none is left."""
    if isinstance(use, Scaling):
        return use if use.weight in chosen else None
    weight = use.weight if use.weight in chosen else None
    bias = use.bias if use.bias in chosen else None
    if weight is None and bias is None:
        return None
    features = None if weight is None else use.features
    groups = 1 if weight is None else use.groups
    product = None if weight is None else use.product
    return Affine(weight, bias, features, use.positions, groups, use.transposed, product)


def _parameters(uses: Collection[Use]) -> list[nn.Parameter]:
    found = [p for use in uses for p in ((use.weight,) if isinstance(use, Scaling) else (use.weight, use.bias))]
    return [p for p in found if p is not None]


def blocks(recording: Recording) -> list[Block]:
    """The Jacobian's columns of all recorded parameters that are not missed: d_out backward passes to the layers."""
    calls = [one for one in recording.calls if not recording.missed.intersection(_parameters(one.uses))]
    if not calls:
        return []
    cotangents = _cotangents(recording.outputs, [one.edge for one in calls], [one.shape for one in calls])
    uses = [(use, a) for one, a in zip(calls, cotangents, strict=True) for use in one.uses]
    return _joined(uses, len(recording.outputs), recording)


def _cotangents(outputs: Tensor, edges: list[GradientEdge], shapes: list[torch.Size]) -> list[Tensor]:
    """The derivative A of the outputs by what each layer gave, (n, d_out, ...), in one backward pass an output."""
    n, d = outputs.shape
    whole = [outputs.new_zeros(n, d, shape.numel() // n) for shape in shapes]
    for index in range(d):
        if not outputs.requires_grad:
            break
        # Rows are independent: the sum of one output over all rows has each row's own derivative.
        one = torch.zeros_like(outputs)
        one[:, index] = 1
        found: Any = torch.autograd.grad(outputs, edges, one, retain_graph=True, allow_unused=True)
        for a, gradient in zip(whole, found, strict=True):
            if gradient is not None:
                a[:, index] = gradient.reshape(n, -1)
    return [a.view(n, d, shape[0] // n, *shape[1:]) for a, shape in zip(whole, shapes, strict=True)]


def _arranged(use: Use, cotangents: Tensor) -> Tensor:
    """Cotangents (n, d_out, m, ...) of a layer that saw m rows for each of the batch, as (n, d_out, m T, q)."""
    n, d, m = cotangents.shape[:3]
    return use.positions(cotangents.flatten(0, 2)).unflatten(0, (n, d, m)).flatten(2, 3)


def _joined(uses: list[tuple[Use, Tensor]], rows: int, recording: Recording) -> list[Block]:
    """One block a parameter, or a weight with its bias: several uses of one parameter are as many positions more."""
    groups: dict[nn.Parameter, list[tuple[Use, Tensor]]] = {}
    for use, a in uses:
        for p in _parameters([use]):
            groups.setdefault(p, []).append((use, a))
    found: list[Block] = []
    for p, group in groups.items():
        if p in {done for block in found for done in block.parameters}:
            continue
        affine = [(use, a) for use, a in group if isinstance(use, Affine)]
        scaling = [(use, a) for use, a in group if isinstance(use, Scaling)]
        roles = {(use.weight is p, use.groups, use.transposed) for use, _ in affine}
        if len(roles) + bool(scaling) > 1:  # an embedding that is also an output layer, say
            recording.missed.add(p)
        elif scaling:
            found.append(GradientBlock([p], sum(_scale_gradients(use, a) for use, a in scaling)))  # pyright: ignore[reportArgumentType]
        else:
            found.append(_affine_block(p, affine, groups, rows))
    return found


def _scale_gradients(use: Scaling, cotangents: Tensor) -> Tensor:
    a = _arranged(use, cotangents)  # (n, d_out, T, q)
    return torch.einsum("bdtq,btq->bdq", a, use.features.reshape(len(a), -1, a.shape[-1]))


def _affine_block(
    p: nn.Parameter,
    uses: list[tuple[Affine, Tensor]],
    groups: dict[nn.Parameter, list[tuple[Use, Tensor]]],
    rows: int,
) -> AffineBlock:
    first = uses[0][0]
    partner = first.bias if p is first.weight else first.weight
    # A weight goes with its bias where each is used only with the other.
    together = partner is not None and [id(u) for u, _ in groups[partner]] == [id(u) for u, _ in groups[p]]
    weight = first.weight if together or p is first.weight else None
    bias = first.bias if together or p is first.bias else None
    a = _joined_positions([_arranged(use, cotangents) for use, cotangents in uses], dim=2)
    if weight is None:
        return AffineBlock(None, bias, a.new_zeros(rows, a.shape[2], 0), a)
    seen = [use.features for use, _ in uses if use.features is not None]
    phi = _joined_positions([features.reshape(rows, -1, features.shape[-1]) for features in seen], dim=1)
    product = first.product if len(uses) == 1 and a.shape[2] == 1 else None
    return AffineBlock(weight, bias, phi, a, groups=first.groups, transposed=first.transposed, product=product)


def _joined_positions(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
