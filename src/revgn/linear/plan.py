"""The ways to have the Jacobian of a module, found out and checked on a few rows before the whole batch is run."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap
from torch.utils._pytree import tree_map

from revgn.linear import functional
from revgn.linear.functional import Inputs, by_parameter, plain_kernels, pull_back
from revgn.linear.recording import blocks, record
from revgn.linear.refusals import REMEDY, close, refuse_batch_statistics, unchanged_buffers
from revgn.linear.shards import take

# Rows on which the ways to have the Jacobian are checked against autograd.
PROBED = 8
# How far a layer's own account of its derivative may be from autograd's, relative to it.
TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-7}

Gradients = Callable[[nn.Module, Inputs, Sequence[nn.Parameter]], Tensor]
"""Per-example gradients (n, d_out, P) of a module's outputs at n rows by some of its parameters."""


def batched(model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> Tensor:
    """All rows at once, by torch.func; not every module allows it."""

    def outputs(values: tuple[Tensor, ...], row: Inputs) -> Tensor:
        with functional.swapped(model, dict(zip(parameters, values, strict=True))):
            alone = tree_map(lambda leaf: leaf.unsqueeze(0) if isinstance(leaf, Tensor) else leaf, row)
            return functional.call(model, alone).squeeze(0)

    values = tuple(p.detach() for p in parameters)
    with torch.no_grad(), plain_kernels(model), warnings.catch_warnings():
        # Where torch has no batching rule it loops over rows, and warns that this is slower.
        warnings.filterwarnings("ignore", message=".*batching rule", category=UserWarning)
        found: Any = vmap(jacrev(outputs), in_dims=(None, 0))(values, inputs)
    return torch.cat([g.reshape(*g.shape[:2], -1) for g in found], dim=2)


def one_by_one(model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> Tensor:
    """One backward pass for each output of each row, with the module's real parameters: slow, and always right."""
    found: list[Tensor] = []
    with torch.enable_grad(), plain_kernels(model), functional.requiring_grad(parameters):
        for index in range(functional.count_rows(inputs)):
            outputs = functional.call(model, take(inputs, slice(index, index + 1)))
            for one in torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device):
                found.append(torch.cat([g.flatten() for g in pull_back(outputs, parameters, one.unsqueeze(0))]))
    return torch.stack(found).unflatten(0, (functional.count_rows(inputs), -1))


@dataclass(frozen=True, eq=False)
class Plan:
    """What was found out.

    Attributes:
        d_out, dtype: of the outputs.
        layered: parameters whose columns come layer by layer.
        gradients: the way to have per-example gradients by the others.
    """

    d_out: int
    dtype: torch.dtype
    layered: tuple[nn.Parameter, ...]
    gradients: Gradients


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
    return modules, every, [id(p) for p in parameters], form, min(PROBED, functional.count_rows(inputs))


def _probe(model: nn.Module, rows: Inputs, parameters: Sequence[nn.Parameter]) -> Plan:
    with unchanged_buffers(model):
        outputs, calls = record(model, rows, parameters)
        again, _ = record(model, rows, parameters)
    if not close(outputs.detach(), again.detach()):
        raise ValueError(f"the model's outputs are random: they differ from one forward pass to the next; {REMEDY}")
    v = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu")
    v = v.to(outputs)
    true = dict(zip(parameters, pull_back(outputs, parameters, v), strict=True))
    told: dict[nn.Parameter, Tensor] = {}
    for block in blocks(outputs, calls):
        told |= block.adjoint(v)
    layered = tuple(p for p in parameters if p in told and _agree(told[p], true[p]))
    others = [p for p in parameters if p not in set(layered)]
    return Plan(outputs.shape[1], outputs.dtype, layered, _way(model, rows, others, v, true))


def _way(
    model: nn.Module, rows: Inputs, parameters: list[nn.Parameter], v: Tensor, true: Mapping[nn.Parameter, Tensor]
) -> Gradients:
    """Batched per-example gradients where the module allows them and they are right, else one by one."""
    if not parameters:
        return batched
    try:
        found = batched(model, rows, parameters)
    except RuntimeError:  # torch.func's word for whatever it cannot batch
        return one_by_one
    told = by_parameter(torch.einsum("bd,bdp->p", v, found), parameters)
    return batched if all(_agree(told[p], true[p]) for p in parameters) else one_by_one


def _agree(told: Tensor, true: Tensor) -> bool:
    difference = torch.linalg.vector_norm(told - true)
    scale = torch.maximum(torch.linalg.vector_norm(told), torch.linalg.vector_norm(true))
    return not bool(difference > TOLERANCE[true.dtype] * scale)
