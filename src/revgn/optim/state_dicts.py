"""A state dict of an optimizer: checked before anything is changed, and loaded in its own precision."""

import math
from typing import Any

import torch
from torch import Tensor

from revgn.linear.sharded import whole

_NEEDED = ("params", "lr", "momentum", "dampening", "weight_decay")
_REMEDY = "load another copy, or the state of an optimizer of the same model"


def checked(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """The state dict itself; ValueError for one that is damaged, or of another model, as form and numbers tell."""
    try:
        _require_state(optimizer, state_dict)
    except (AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"this is no state dict of an optimizer ({error!r}); {_REMEDY}") from error
    return state_dict


def _require_state(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> None:
    for name, kind in (("param_groups", list), ("state", dict)):
        if not isinstance(state_dict.get(name), kind):
            raise ValueError(f"the state dict holds no {name}; {_REMEDY}")
    for index, group in enumerate(state_dict["param_groups"]):
        missing = [name for name in _NEEDED if name not in group]
        if missing:
            raise ValueError(f"group {index} of the state dict lacks {', '.join(missing)}; {_REMEDY}")
    for index, p in _places(optimizer, state_dict):
        held = state_dict["state"].get(index, {})
        buffer, memory = held.get("momentum_buffer"), held.get("solver") or {}
        if buffer is not None and buffer.shape != p.shape:
            found, expected = tuple(buffer.shape), tuple(p.shape)
            raise ValueError(f"the momentum of parameter {index} has shape {found}, expected {expected}; {_REMEDY}")
        for name, tensor in {"momentum": buffer, **memory}.items():
            if tensor is not None and not _is_finite(tensor):
                raise ValueError(f"the {name} of parameter {index} holds NaN or infinity; {_REMEDY}")


def restore_memory(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> None:
    """Put back what solvers remember in its own precision: torch has cast it to that of the parameters."""
    for index, p in _places(optimizer, state_dict):
        memory = state_dict["state"].get(index, {}).get("solver")
        if memory is not None:
            optimizer.state[p]["solver"] = {name: t.detach().clone().to(p.device) for name, t in memory.items()}


def _places(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> list[tuple[Any, Tensor]]:
    """What the state dict calls each parameter, and the parameter; of unlike numbers torch itself will complain."""
    saved = [i for group in state_dict["param_groups"] for i in group["params"]]
    return list(zip(saved, (p for group in optimizer.param_groups for p in group["params"]), strict=False))


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or math.isfinite(float(whole(tensor.detach().abs().sum(dtype=torch.float64))))
