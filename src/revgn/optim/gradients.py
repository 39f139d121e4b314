"""True gradients for the parameters that another optimizer steps."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from revgn.linear import Inputs, rows_of
from revgn.linear.functional import call, full_precision, plain_kernels, pull_back
from revgn.linear.sharded import numbers
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
    rows = rows_of(inputs)
    with full_precision(parameters[0].device), torch.enable_grad(), plain_kernels(model):
        with rows.together():
            outputs = call(model, rows.local)
        leaf = rows.everywhere(outputs.detach()).requires_grad_()
        # The mean is over the rows of all processes: each pulls back its part of the gradient by the outputs.
        (gradient,) = torch.autograd.grad(loss.mean(leaf, targets, sample_weight), leaf)
        found = [rows.total(g) for g in pull_back(outputs, parameters, rows.here(gradient))]
    if not bool(torch.isfinite(numbers([g.sum() for g in found])).all()):
        raise FloatingPointError("a gradient holds NaN or infinity; check the inputs and lower the learning rates")
    return dict(zip(parameters, found, strict=True))
