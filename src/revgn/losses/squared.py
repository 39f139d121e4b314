"""Squared error, for regression."""

from torch import Tensor

from revgn.losses.checks import require_like
from revgn.losses.loss import GaussNewtonLoss


class MSELoss(GaussNewtonLoss):
    """Squared error: 0.5 ||F - Y||^2, summed over outputs, mean over rows; r = F - Y, H = I.

    Note the factor 0.5, and the sum over outputs where `torch.nn.MSELoss` takes the mean.
    Targets: (n, d_out), of the outputs' dtype.
    """

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        require_like(outputs, targets, "class indices need a one-hot encoding: torch.nn.functional.one_hot")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (outputs - targets).square().sum(-1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs - targets

    def curvature(self, outputs: Tensor, targets: Tensor) -> None:
        return None
