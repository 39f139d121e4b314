"""A module as a function of its parameters: other values put in for a while, some of its rows, its JVP."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from revgn._alone import alone
from revgn._sizes import naming_sizes
from revgn.linear.products import ShortProducts
from revgn.linear.sharded import is_sharded, numbers
from revgn.linear.shards import Shard

Inputs = Any
"""What a module is called with: a tensor, a tuple of positional or a dict of keyword arguments, of n rows each."""

Change = Mapping[nn.Parameter, Tensor]
"""A change of parameters, or a tangent of them, each of its parameter's shape."""


def count_rows(inputs: Inputs, least: int = 1) -> int:
    """The number of rows n of a batch.

    Raises:
        ValueError: there is no tensor, a scalar, too few rows, or tensors differ in their rows.
    """
    if isinstance(inputs, Shard):
        return inputs.count
    counts = {len(leaf) if leaf.ndim else -1 for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)}
    if len(counts) != 1 or counts == {-1}:
        what = "no tensor" if not counts else "tensors of " + " and ".join("no" if c < 0 else str(c) for c in counts)
        raise ValueError(
            f"inputs with {what} rows; expected the same n rows in each tensor: a tensor (n, ...), a tuple of them for "
            "several arguments, or a dict for keyword arguments"
        )
    (rows,) = counts
    if rows < least:
        raise ValueError("an empty batch: 0 rows; expected at least one")
    return rows


@dataclass(frozen=True)
class Whole:
    """A batch that is passed on as it is and never taken apart: rows of the outputs may depend on all of it.

    Attributes:
        batch: what the module is called with.
    """

    batch: Any


def call(model: nn.Module, inputs: Inputs) -> Tensor:
    """The module's outputs, (n, d_out).

    Raises:
        ValueError, TypeError: they are no such tensor, or not of float32 or float64.
    """
    if isinstance(inputs, Shard):
        with inputs.together():
            outputs = call(model, inputs.local)
        return inputs.everywhere(outputs)
    if isinstance(inputs, Whole):
        outputs = model(inputs.batch)
    elif isinstance(inputs, tuple):
        outputs = model(*inputs)
    elif isinstance(inputs, Mapping):
        outputs = model(**inputs)
    else:
        outputs = model(inputs)
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"the model's outputs are a {type(outputs).__name__}; expected one tensor (n, d_out): wrap the model in a "
            "module whose forward returns the tensor to train on, or use LevenbergMarquardt(model, residuals=...)"
        )
    rows = (len(outputs) if outputs.ndim else 0) if isinstance(inputs, Whole) else count_rows(inputs)
    if outputs.ndim != 2 or len(outputs) != rows:
        raise ValueError(
            f"the model's outputs have shape {tuple(outputs.shape)} for {rows} rows of inputs; expected (n, d_out): "
            + ("outputs.unsqueeze(1) makes them so" if outputs.shape == (rows,) else "flatten what each row gives")
        )
    if outputs.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"the model's outputs are {outputs.dtype}; Gauss-Newton needs float32 or float64")
    return outputs


def is_compiled(module: nn.Module) -> bool:
    """Whether `torch.compile(module)` has made it, or `module.compile()` was called."""
    # The class of the former lives in a module that takes seconds to import.
    return "_orig_mod" in module._modules or module._compiled_call_impl is not None  # pyright: ignore[reportPrivateUsage]


@contextmanager
def plain_kernels(model: nn.Module) -> Generator[None]:
    """Kernels that autograd can differentiate twice, forwards and batched, in place of fused ones that it cannot."""
    # Sought only where torch.nn's recurrent modules are: without mkldnn convolutions are several times slower.
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    # Compiled anew at each linearisation, a part would take seconds a time; and its kernels know no forward mode.
    compiled = any(is_compiled(module) for module in model.modules())
    with alone(), ExitStack() as stack:
        if compiled:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if recurrent:
            # torch.backends.mkldnn.flags does the same, and warns of hardware that is not there.
            enabled = torch._C._get_mkldnn_enabled()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
            switch = torch._C._set_mkldnn_enabled  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
            stack.callback(switch, enabled)
            switch(False)
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield


@contextmanager
def swapped(model: nn.Module, values: Mapping[nn.Parameter, Tensor]) -> Generator[None]:
    """The module with other tensors in the places of some of its parameters, which are put back afterwards.

    Every place is found, once for each module however many names lead to it: the module's own parameters, and the
    lists, tuples and dicts among its attributes that hold one besides, as torch's recurrent modules do.
    """
    by_id = {id(parameter): value for parameter, value in values.items()}
    undo: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for module in model.modules():
            own: dict[str, Any] = module._parameters  # pyright: ignore[reportPrivateUsage]
            # All attributes but torch's own registries.
            others = [name for name in vars(module) if not name.startswith("_") or name == "_flat_weights"]
            for places, names in ((own, list(own)), (vars(module), others)):
                for name in names:
                    held = places[name]
                    if any(id(leaf) in by_id for leaf in tree_leaves(held)):
                        undo.append((places, name, held))
                        places[name] = tree_map(lambda leaf: by_id.get(id(leaf), leaf), held)
        yield
    finally:
        for places, name, held in reversed(undo):
            places[name] = held


def jvp(model: nn.Module, inputs: Inputs, change: Change) -> tuple[Tensor, Tensor]:
    """The outputs F (n, d_out), and J Delta (n, d_out), through the module's own forward pass.

    By forward-mode autodiff; where the module knows no forward mode, uses it itself (`torch.func.jvp`, which does not
    nest in torch's dual numbers), or reads a parameter from where it cannot be replaced, by two reverse passes, which
    cost about three times as much.

    Args:
        model: any module that autograd can differentiate.
        inputs: see `Inputs`.
        change: Delta; parameters that are not in it stay.
    """
    if isinstance(inputs, Shard):
        with inputs.together():
            outputs, moved = jvp(model, inputs.local, change)
        return inputs.everywhere(outputs), inputs.everywhere(moved)
    # The padding row of an embedding, which autograd's backward leaves alone, would be moved by its forward mode.
    if any(isinstance(module, nn.Embedding) and module.padding_idx is not None for module in model.modules()):
        return _double_backward(model, inputs, change)
    parameters = [p for p in model.parameters() if p.requires_grad or p in change]
    if any(is_sharded(p) for p in parameters):  # DTensors know no forward mode (torch 2.13)
        return _double_backward(model, inputs, change)
    try:
        with torch.enable_grad(), plain_kernels(model), forward_ad.dual_level():
            duals = {
                p: forward_ad.make_dual(p.detach(), change[p].detach()) if p in change else p.detach()
                for p in parameters
            }
            with swapped(model, duals), ShortProducts():
                dual = call(model, inputs)
            outputs, moved = cast(tuple[Tensor, Tensor | None], forward_ad.unpack_dual(dual))
            # A graph although all parameters were replaced by tensors without one: some are read elsewhere.
            if not outputs.requires_grad:
                return outputs, torch.zeros_like(outputs) if moved is None else moved
    except (NotImplementedError, RuntimeError) as error:
        if not any(
            hint in str(error) for hint in ("forward AD", "forward-mode", "forward mode", "jvp", "tangent", "dual")
        ):
            raise
    return _double_backward(model, inputs, change)


def _double_backward(model: nn.Module, inputs: Inputs, change: Change) -> tuple[Tensor, Tensor]:
    """The JVP as the derivative of J^T w by w: two reverse passes with the module's real parameters."""
    with torch.enable_grad(), plain_kernels(model), requiring_grad(change):
        outputs = call(model, inputs)
        w = torch.zeros_like(outputs, requires_grad=True)
        pulled = pull_back(outputs, tuple(change), w, create_graph=True)
        inner = numbers([(g * t).sum() for g, t in zip(pulled, change.values(), strict=True)]).sum()
        (moved,) = torch.autograd.grad(inner, w) if inner.requires_grad else (torch.zeros_like(outputs),)
    return outputs.detach(), moved


def pull_back(
    outputs: Tensor, parameters: Sequence[nn.Parameter], v: Tensor, *, create_graph: bool = False
) -> list[Tensor]:
    """J^T v for each parameter, by the graph of the outputs, which is kept; zeros for those that are not in it."""
    if not outputs.requires_grad:
        return [torch.zeros_like(p) for p in parameters]
    options: dict[str, bool] = {"create_graph": create_graph, "allow_unused": True, "materialize_grads": True}
    return list(torch.autograd.grad(outputs, parameters, v, retain_graph=True, **options))


def by_parameter(flat: Tensor, parameters: Sequence[nn.Parameter]) -> dict[nn.Parameter, Tensor]:
    """A vector (P,) in pieces of the parameters' shapes."""
    parts = flat.split([p.numel() for p in parameters])
    return {p: part.view_as(p) for p, part in zip(parameters, parts, strict=True)}


@contextmanager
def requiring_grad(parameters: Iterable[nn.Parameter]) -> Generator[None]:
    """All of these parameters with `requires_grad`, as they were afterwards."""
    frozen = [p for p in parameters if not p.requires_grad]
    try:
        for p in frozen:
            p.requires_grad_(True)
        yield
    finally:
        for p in frozen:
            p.requires_grad_(False)


@contextmanager
def full_precision(device: torch.device) -> Generator[None]:
    """Without autograd, inference mode, autocast, TF32 or bfloat16 products, whatever the loop around it chose.

    Raises:
        MemoryError: torch has no room for a tensor, in place of its own words.
    """
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # pyright: ignore[reportAttributeAccessIssue]
    with alone(), naming_sizes():
        chosen = [backend.fp32_precision for backend in backends]
        try:
            for backend in backends:
                backend.fp32_precision = "ieee"
            # Inference mode left as well: within it no derivative can be taken, and J would be zero.
            with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
                yield
        finally:
            for backend, precision in zip(backends, chosen, strict=True):
                backend.fp32_precision = precision
