"""Wrappers that PyTorch puts around a module, taken off: a step needs the module itself."""

from typing import Any, cast

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def unwrapped(model: nn.Module) -> nn.Module:
    """The module within `torch.compile(module)`, `DataParallel` or `DistributedDataParallel` of one process.

    It has the same parameters, and the same outputs. The step calls it uncompiled and on one device; other forward
    passes of the training loop stay as they were.

    Raises:
        ValueError: `DistributedDataParallel` of several processes.
    """
    while True:
        if isinstance(model, DistributedDataParallel):
            _require_one_process(model)
            model = cast(nn.Module, model.module)
        elif isinstance(model, nn.DataParallel):
            model = cast(nn.Module, cast(Any, model).module)
        elif isinstance(within := model._modules.get("_orig_mod"), nn.Module):  # pyright: ignore[reportPrivateUsage]
            model = within  # what torch.compile returns; its class lives in a module that takes seconds to import
        else:
            return model


def _require_one_process(model: DistributedDataParallel) -> None:
    processes = dist.get_world_size(cast(Any, model).process_group)
    if processes > 1:
        raise ValueError(
            f"model is a DistributedDataParallel of {processes} processes, which averages what autograd's backward "
            "writes, and not what this optimizer writes: each process would take a step of its own; give it the module "
            "without DistributedDataParallel, and average .grad over processes between backward() and step()"
        )
