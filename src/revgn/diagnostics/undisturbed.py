"""Looking at a model without changing it."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from revgn.optim.precision import full_precision


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Generator[None]:
    """The model in evaluation mode, arithmetic in full precision, no autograd; modes and random numbers restored.

    Args:
        model: what is looked at.
        device: where it computes.
    """
    training = [module for module in model.modules() if module.training]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), full_precision(device):
        try:
            model.eval()
            yield
        finally:
            for module in training:
                module.training = True
