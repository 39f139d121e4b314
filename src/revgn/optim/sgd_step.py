"""The step of torch's SGD from the change that `backward` wrote, as the loops around it expect it."""

from collections.abc import Callable
from typing import Any

import torch

from revgn.linear.sharded import whole

NO_SCALER = (
    "torch.amp.GradScaler steps an optimizer whose .grad holds the change of the parameters, not the gradient of a "
    "scaled loss: dividing it would shorten the step by the scale; call optimizer.step() in place of "
    "scaler.step(optimizer), or make GradScaler(enabled=False): steps are in full precision within autocast too"
)
NO_CHANGE = (
    ".grad holds what another backward has written, and this optimizer has made no change yet: a step along the "
    "gradient would be no Gauss-Newton step; call optimizer.backward(inputs, targets) in place of loss.backward()"
)


def sgd_step(optimizer: torch.optim.SGD) -> None:
    """Apply what stands in `.grad` as SGD does, without the hooks that torch has put around its step.

    Torch wraps `step` of the first optimizer of each class in hooks, and so SGD's, once any SGD was made. A subclass
    that calls it from its own `step`, which is wrapped too, would run every hook twice, or once for each trial step.
    """
    step: Callable[..., Any] = torch.optim.SGD.step
    if getattr(step, "hooked", False):
        step = vars(step)["__wrapped__"]
    step(optimizer)


def apply_change(optimizer: torch.optim.SGD, closure: Any, seen: set[str]) -> Any:
    """The step without a batch: what the closure returns, if there is one, and the change applied.

    Args:
        optimizer: whose parameters' `.grad` hold the change.
        closure: torch's, called first.
        seen: holds "change" once the optimizer has made one.

    Raises:
        RuntimeError: it has made none, but there are gradients.
    """
    returned = None
    if closure is not None:
        with torch.enable_grad():
            returned = closure()
    if "change" not in seen and not _moves_nothing(optimizer):
        raise RuntimeError(NO_CHANGE)
    sgd_step(optimizer)
    return returned


def _moves_nothing(optimizer: torch.optim.SGD) -> bool:
    """Whether there are no gradients, or zeros at a learning rate of zero.

    By the latter torch.distributed.checkpoint makes the state into which it loads.
    """
    found = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if not found:
        return True
    still = not any(float(group["lr"]) for group in optimizer.param_groups)
    return still and not any(float(whole(grad.abs().sum())) for grad in found)
