"""Wrappers that PyTorch puts around a module, taken off: a step needs the module itself."""

from typing import Any, cast

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def unwrapped(model: nn.Module) -> tuple[nn.Module, dist.ProcessGroup | None]:
    """The module within `torch.compile(module)`, `DataParallel` or `DistributedDataParallel`, and the latter's group.

    The module has the same parameters, and the same outputs. The step calls it uncompiled and on one device; other
    forward passes of the training loop stay as they were. The group is None where nothing was spread over processes.
    """
    group: dist.ProcessGroup | None = None
    while True:
        if isinstance(model, DistributedDataParallel):
            group = cast(Any, model).process_group
            model = cast(nn.Module, model.module)
        elif isinstance(model, nn.DataParallel):
            model = cast(nn.Module, cast(Any, model).module)
        elif isinstance(within := model._modules.get("_orig_mod"), nn.Module):  # pyright: ignore[reportPrivateUsage]
            model = within  # what torch.compile returns; its class lives in a module that takes seconds to import
        else:
            return model, group
