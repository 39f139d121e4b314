"""Looking at a model without changing it."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from revgn.linear.functional import full_precision


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Generator[None]:
    """The model, which computes on `device`, in evaluation mode, full precision and without autograd.

    Modes and random numbers are as they were afterwards.
    """
    # Not by `model.eval()`: a module may do work when train() is called, such as merging an adapter into frozen
    # weights, which restoring its mode would not undo.
    modes = [(module, module.training) for module in model.modules()]
    devices = [device] if device.type == "cuda" else []
    # In turns with other threads, whose random numbers they are too.
    with full_precision(device), torch.random.fork_rng(devices):
        try:
            for module, _ in modes:
                module.training = False
            yield
        finally:
            for module, training in modes:
                module.training = training
