"""What solvers remember, in the state of an optimizer that is stored and loaded."""

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
