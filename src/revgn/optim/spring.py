"""SPRING: d <- mu d + J^+ (r - mu J d), momentum whose own motion is not asked of the step again."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def require_momentum(momentum: float, dampening: float, nesterov: bool) -> None:
    """Raise ValueError unless there is plain momentum."""
    if not momentum or dampening or nesterov:
        raise ValueError(
            f"spring=True corrects momentum, and got {momentum=}, {dampening=}, {nesterov=}; give it momentum, such as "
            "0.9, and neither dampening nor nesterov"
        )


def carried(optimizer: torch.optim.SGD, parameters: Iterable[nn.Parameter]) -> dict[nn.Parameter, Tensor]:
    """Mu d: what momentum adds to the next change of each parameter that has moved before."""
    momentum: dict[Any, float] = {p: group["momentum"] for group in optimizer.param_groups for p in group["params"]}
    buffers = {p: optimizer.state[p].get("momentum_buffer") for p in parameters}
    return {p: momentum[p] * buffer for p, buffer in buffers.items() if buffer is not None}
