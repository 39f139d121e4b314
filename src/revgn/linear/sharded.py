"""Small tensors that meet sharded ones: plain tensors on the one side, DTensors of the same mesh on the other."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """The plain tensor that a DTensor stands for; any other tensor as it is."""
    return _Whole.apply(tensor) if is_sharded(tensor) else tensor  # pyright: ignore[reportReturnType]


def together(collective: Callable[[Tensor], Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """What a collective that works entry by entry makes of each of the tensors, by one message for all of them."""
    flat = collective(torch.cat([tensor.flatten() for tensor in tensors]))
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def beside(tensor: Tensor, other: Tensor) -> Tensor:
    """The tensor as a replicated DTensor on the mesh of `other`, if that is a DTensor; else as it is."""
    if not is_sharded(other) or is_sharded(tensor):
        return tensor
    return _Beside.apply(tensor, other.device_mesh)  # pyright: ignore


def placed(tensor: Tensor, other: Tensor) -> Tensor:
    """The tensor, of the shape of `other`, distributed as that is: of a plain one each process keeps its part."""
    if not is_sharded(other):
        return tensor
    spread: Any = beside(tensor, other)
    return spread.redistribute(placements=other.placements)  # pyright: ignore[reportAttributeAccessIssue]


def entrywise(function: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """An elementwise function of a tensor; of a DTensor each process takes it of its part."""
    if not is_sharded(tensor):
        return function(tensor)
    # Of a copy: the function may work in place, which autograd does not take of a part.
    return spread_like(function(part(tensor).clone()), tensor)


def part(tensor: Tensor) -> Tensor:
    """The part of a DTensor that lies in this process; any other tensor as it is."""
    return _Part.apply(tensor) if is_sharded(tensor) else tensor  # pyright: ignore[reportReturnType]


def spread_like(part: Tensor, other: Tensor) -> Tensor:
    """The DTensor of the shape and placements of `other` whose part in this process is given; if plain, the part."""
    return _Spread.apply(part, _layout(other)) if is_sharded(other) else part  # pyright: ignore[reportReturnType]


def numbers(scalars: Sequence[Tensor]) -> Tensor:
    """Some numbers side by side, (m,), plain; DTensors of one placement take one collective together."""
    kinds: dict[Any, list[int]] = {}
    for index, scalar in enumerate(scalars):
        kinds.setdefault(scalar.placements if is_sharded(scalar) else None, []).append(index)  # pyright: ignore
    parts = [whole(torch.stack([scalars[index] for index in kind])) for kind in kinds.values()]
    if len(parts) == 1:
        return parts[0]
    order = [index for kind in kinds.values() for index in kind]
    return torch.cat(parts)[[order.index(index) for index in range(len(order))]]


def is_sharded(tensor: Tensor) -> bool:
    """Whether the tensor is a DTensor."""
    if type(tensor) is Tensor:
        return False
    # A DTensor exists only where its module was imported: asking costs no import.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


class _Layout(NamedTuple):
    """How a DTensor is distributed; of several processes parts may differ in size, so that the shape is said."""

    device_mesh: Any
    placements: Any
    shape: Any
    stride: Any


def _layout(tensor: Any) -> _Layout:
    return _Layout(tensor.device_mesh, tensor.placements, tensor.shape, tensor.stride())


# Torch has these conversions too, but not their second derivatives (2.13: that of `from_local` leaves out a sum over
# processes), and a JVP by two reverse passes needs them. Here each is the derivative of the other: `_Whole` and
# `_Beside`, `_Part` and `_Spread`.


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Any) -> Tensor:
        ctx.mesh = tensor.device_mesh
        return tensor.full_tensor()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Beside.apply(gradient, ctx.mesh)


class _Beside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, mesh: Any) -> Tensor:
        from torch.distributed.tensor import DTensor, Replicate

        # Every rank holds the same small tensor: replicating it needs no communication.
        return DTensor.from_local(tensor.view_as(tensor), mesh, [Replicate()] * mesh.ndim, run_check=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return whole(gradient), None


class _Part(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Any) -> Tensor:
        ctx.layout = _layout(tensor)
        local = tensor.to_local()
        return local.view_as(local)  # a tensor of its own, on which autograd notes where it comes from

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Spread.apply(gradient, ctx.layout)


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, layout: _Layout) -> Tensor:
        from torch.distributed.tensor import DTensor

        ctx.placements = layout.placements
        return DTensor.from_local(part.view_as(part), run_check=False, **layout._asdict())

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return part(gradient.redistribute(placements=ctx.placements)), None
