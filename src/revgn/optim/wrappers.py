"""Wrappers that PyTorch puts around a module, taken off: a step needs the module itself."""

from typing import Any, cast

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from revgn.optim.parameters import require_own_shapes


def unwrapped(model: nn.Module) -> tuple[nn.Module, dist.ProcessGroup | None]:
    """The module within `torch.compile(module)`, `DataParallel` or `DistributedDataParallel`, and the latter's group.

    The module has the same parameters, and the same outputs. The step calls it uncompiled and on one device; other
    forward passes of the training loop stay as they were. The group is None where nothing was spread over processes.

    Raises:
        ValueError: the parameters are those of `FullyShardedDataParallel`.
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
            require_own_shapes(dict(model.named_parameters()))
            return model, group


def group_around(model: nn.Module) -> dist.ProcessGroup | None:
    """The group of a `DistributedDataParallel` whose forward pass this is, and of which the model is a part.

    Lightning wraps its module, and so the model in it, and runs the training step as the forward pass of the wrapper.
    """
    if not dist.is_available() or not dist.is_initialized():
        return None
    wrapper = cast(Any, DistributedDataParallel)._get_active_ddp_module()
    if wrapper is None or set(model.parameters()).isdisjoint(wrapper.parameters()):
        return None
    return wrapper.process_group
