"""What solvers and controls remember from step to step, as it was where a step fails."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch


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
