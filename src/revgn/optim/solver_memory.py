"""What solvers and controls remember, in the state of an optimizer: loaded, and as it was where a step fails."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch


def restore_memory(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> None:
    """Put back what solvers remember in its own precision: torch has cast it to that of the parameters."""
    saved = [i for group in state_dict["param_groups"] for i in group["params"]]
    ours = [p for group in optimizer.param_groups for p in group["params"]]
    for index, p in zip(saved, ours, strict=True):
        memory = state_dict["state"].get(index, {}).get("solver")
        if memory is not None:
            optimizer.state[p]["solver"] = {name: t.detach().clone().to(p.device) for name, t in memory.items()}


@contextmanager
def remembered(optimizer: torch.optim.Optimizer) -> Generator[None]:
    """Put back what solvers and the control remember, should the step within fail: a layer may have learnt before."""
    kept = {p: _memory(held, "solver") for p, held in optimizer.state.items()}
    group = optimizer.param_groups[0]
    control = _memory(group, "control")
    try:
        yield
    except BaseException:
        for p in [p for p in optimizer.state if p not in kept]:
            del optimizer.state[p]
        for p, memory in kept.items():
            _put_back(optimizer.state[p], "solver", memory)
        _put_back(group, "control", control)
        raise


def _memory(held: dict[str, Any], name: str) -> dict[str, Any] | None:
    """What is kept under that name, in a dict of its own: tensors in it are replaced, and never written to."""
    return dict(held[name]) if name in held else None


def _put_back(held: dict[str, Any], name: str, memory: dict[str, Any] | None) -> None:
    if memory is None:
        held.pop(name, None)
    else:
        held[name] = memory
