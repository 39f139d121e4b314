"""True gradients for the parameters that another optimizer steps."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from revgn.linear import Inputs
from revgn.linear.functional import call, full_precision, plain_kernels
from revgn.losses import GaussNewtonLoss


def gradients(
    model: nn.Module,
    loss: GaussNewtonLoss,
    parameters: Sequence[nn.Parameter],
    inputs: Inputs,
    targets: Tensor,
    sample_weight: Tensor | None,
) -> dict[nn.Parameter, Tensor]:
    """The derivative of the loss, a weighted mean over rows, by some parameters; zero for those it does not depend on.

    Raises:
        FloatingPointError: a gradient holds NaN or infinity.
    """
    if not parameters:
        return {}
    with full_precision(parameters[0].device), torch.enable_grad(), plain_kernels(model):
        value = loss.mean(call(model, inputs), targets, sample_weight)
        found = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    if not bool(torch.isfinite(torch.stack([g.sum() for g in found])).all()):
        raise FloatingPointError("a gradient holds NaN or infinity; check the inputs and lower the learning rates")
    return dict(zip(parameters, found, strict=True))
