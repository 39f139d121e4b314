"""What a Jacobian row by row cannot be taken of: rows that depend on each other, randomness, changing buffers."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]
from torch.utils._pytree import tree_map

from revgn.linear.functional import Inputs, call, plain_kernels
from revgn.linear.shards import Shard

REMEDY = "call model.eval(), or make the forward pass a function of its inputs and parameters alone"
# How far outputs of the same rows may differ by rounding, relative to the largest.
_ROUNDING = {torch.float32: 1e-3, torch.float64: 1e-8}
# How much more than the last bits of the inputs the rounding of sums may move the outputs.
BLOWN_UP = 1e3


def refuse_batch_statistics(model: nn.Module) -> None:
    """Raise ValueError for modules that are known to be random or to mix rows as they stand."""
    for name, module in model.named_modules():
        where = f"{name or 'the model'} is a {type(module).__name__}"
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            cure = "call model.eval()" if module.track_running_stats else "set track_running_stats=True and call eval()"
            raise ValueError(
                f"{where} that normalises by the statistics of the batch: its rows depend on each other, so that no "
                f"step by rows exists; {cure}, or use GroupNorm or LayerNorm"
            )
        if isinstance(module, _DropoutNd) and module.training and module.p > 0:
            raise ValueError(f"{where} in training mode: the outputs are random; {REMEDY}")


def close(first: Tensor, second: Tensor) -> bool:
    """Whether outputs of the same rows are the same but for rounding; where they are not finite, nobody can tell."""
    scale = torch.maximum(first.abs().max(), second.abs().max())
    difference = (first - second).abs().max()
    return not bool(difference > _ROUNDING[first.dtype] * scale)


def refuse_difference(model: nn.Module, rows: Inputs, outputs: Tensor, alone: Tensor) -> bool:
    """Whether `outputs` of rows within the batch differ from those `alone` by rounding that the model has blown up.

    Raises:
        ValueError: they differ by more: the forward pass is random, or rows depend on each other.
    """
    if close(outputs, alone):
        return False
    with torch.no_grad(), plain_kernels(model):
        once, again, shaken = call(model, rows), call(model, rows), call(model, jittered(rows))
    if not torch.equal(once, again):
        raise ValueError(f"the model's outputs are random: they differ from one forward pass to the next; {REMEDY}")
    # A network of huge weights blows rounding up, of inputs as of sums over another number of rows.
    if not (outputs - alone).abs().max() <= BLOWN_UP * (shaken - once).abs().max():
        raise ValueError(
            "the same rows have other outputs alone than within the batch: rows depend on each other, or the forward "
            f"pass is random; {REMEDY}"
        )
    return True


def jittered(inputs: Inputs) -> Inputs:
    """The rows with every input moved by its last bit, up or down; integers stay as they are."""

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            return leaf
        eps = torch.finfo(leaf.dtype).eps
        signs = 1 - 2 * (torch.arange(leaf[0].numel(), device=leaf.device) % 2).to(leaf.dtype)
        return leaf * (1 + eps * signs.view_as(leaf[0]))

    return inputs.mapped(jittered) if isinstance(inputs, Shard) else tree_map(moved, inputs)


@contextmanager
def unchanged_buffers(model: nn.Module) -> Generator[None]:
    """Raise ValueError if what happens inside changes a buffer, which is put back."""
    before = {name: (buffer, buffer._version, buffer.clone()) for name, buffer in model.named_buffers()}
    yield
    now = dict(model.named_buffers())
    changed = [n for n, (b, version, _) in before.items() if now.get(n, b) is not b or b._version != version]
    if not changed:
        return
    with torch.no_grad():
        for name in changed:
            buffer, _, copy = before[name]
            buffer.copy_(copy)
            owner, _, own_name = name.rpartition(".")
            setattr(model.get_submodule(owner), own_name, buffer)
    names = ", ".join(sorted(changed)[:3])
    raise ValueError(f"the forward pass changes the buffer {names}, so that no two passes are the same; {REMEDY}")
