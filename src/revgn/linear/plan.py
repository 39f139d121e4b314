"""How the Jacobian of a module is to be had, found out and checked on a few rows before the whole batch is run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from revgn.linear import per_example
from revgn.linear.functional import Inputs, count_rows, pull_back, take
from revgn.linear.recording import blocks, record
from revgn.linear.refusals import REMEDY, close, refuse_batch_statistics, unchanged_buffers

# Rows on which the ways to have the Jacobian are checked against autograd.
PROBED = 8
# How far a layer's own account of its derivative may be from autograd's, relative to it.
TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-7}


@dataclass(frozen=True, eq=False)
class Plan:
    """What was found out.

    Attributes:
        d_out, dtype: of the outputs.
        layered: parameters whose columns come layer by layer.
        others: those that need per-example gradients.
        gradients: the way to have these.
    """

    d_out: int
    dtype: torch.dtype
    layered: tuple[nn.Parameter, ...]
    others: tuple[nn.Parameter, ...]
    gradients: per_example.Gradients


# The plan for a model as it was: probing takes several passes over all weights, much for networks of wide layers.
_known: WeakKeyDictionary[nn.Module, tuple[Any, Plan]] = WeakKeyDictionary()


def make_plan(model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> Plan:
    """Find the way for each parameter, on the first rows of a batch; again when the model has been changed.

    Raises:
        ValueError: rows depend on each other, the forward pass is random or changes buffers; see `revgn.Jacobian`.
    """
    refuse_batch_statistics(model)
    signature = _signature(model, inputs, parameters)
    known = _known.get(model)
    if known is None or known[0] != signature:
        known = signature, _probe(model, take(inputs, slice(0, PROBED)), parameters)
        _known[model] = known
    return known[1]


def _signature(model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> Any:
    """What makes another plan necessary: modules, modes, hooks, parameters, and the form of the inputs."""
    modules = [
        (id(m), m.training, len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in vars(m))  # pyright: ignore[reportPrivateUsage]
        for m in model.modules()
    ]
    every = [(id(p), p.requires_grad, p.dtype, p.device) for p in model.parameters()]
    form = tree_map(lambda leaf: (leaf.shape[1:], leaf.dtype) if isinstance(leaf, Tensor) else None, inputs)
    return modules, every, [id(p) for p in parameters], form, min(PROBED, count_rows(inputs))


def _probe(model: nn.Module, rows: Inputs, parameters: Sequence[nn.Parameter]) -> Plan:
    with unchanged_buffers(model):
        recording = record(model, rows, parameters)
        outputs = recording.outputs.detach()
        again = record(model, rows, parameters).outputs.detach()
    if not close(outputs, again):
        raise ValueError(f"the model's outputs are random: they differ from one forward pass to the next; {REMEDY}")
    v = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu")
    v = v.to(outputs)
    true = dict(zip(parameters, pull_back(recording.outputs, parameters, v), strict=True))
    told: dict[nn.Parameter, Tensor] = {}
    for block in blocks(recording):
        told |= block.adjoint(v)
    layered = tuple(p for p in parameters if p in told and _agree(told[p], true[p]))
    others = tuple(p for p in parameters if p not in set(layered))
    gradients = _way(model, rows, others, v, true) if others else per_example.batched
    return Plan(outputs.shape[1], outputs.dtype, layered, others, gradients)


def _way(
    model: nn.Module,
    rows: Inputs,
    parameters: Sequence[nn.Parameter],
    v: Tensor,
    true: dict[nn.Parameter, Tensor],
) -> per_example.Gradients:
    """Batched per-example gradients where the module allows them and they are right, else one by one."""
    try:
        found = per_example.batched(model, rows, parameters)
    except RuntimeError:  # torch.func's word for whatever it cannot batch
        return per_example.one_by_one
    told = torch.einsum("bd,bdp->p", v, found).split([p.numel() for p in parameters])
    right = all(_agree(t.view_as(p), true[p]) for p, t in zip(parameters, told, strict=True))
    return per_example.batched if right else per_example.one_by_one


def _agree(told: Tensor, true: Tensor) -> bool:
    difference = torch.linalg.vector_norm(told - true)
    scale = torch.maximum(torch.linalg.vector_norm(told), torch.linalg.vector_norm(true))
    return not bool(difference > TOLERANCE[true.dtype] * scale)
