"""The step of torch's SGD, without the hooks that torch has put around it."""

from collections.abc import Callable
from typing import Any

import torch

NO_SCALER = (
    "torch.amp.GradScaler steps an optimizer whose .grad holds the change of the parameters, not the gradient of a "
    "scaled loss: dividing it would shorten the step by the scale; call optimizer.step() in place of "
    "scaler.step(optimizer), or make GradScaler(enabled=False): steps are in full precision within autocast too"
)


def sgd_step(optimizer: torch.optim.SGD, closure: Any = None) -> Any:
    """Apply what stands in `.grad` as SGD does.

    Torch wraps `step` of the first optimizer of each class in hooks, and so SGD's, once any SGD was made. A subclass
    that calls it from its own `step`, which is wrapped too, would run every hook twice, or once for each trial step.
    """
    step: Callable[..., Any] = torch.optim.SGD.step
    if getattr(step, "hooked", False):
        step = vars(step)["__wrapped__"]
    return step(optimizer, closure)
