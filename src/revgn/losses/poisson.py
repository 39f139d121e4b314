"""Poisson regression, for counts."""

import torch
from torch import Tensor

from revgn.losses.base import GaussNewtonLoss
from revgn.losses.checks import require_damping, require_like
from revgn.losses.weights import weighed


class PoissonNLLLoss(GaussNewtonLoss):
    """Negative log-likelihood of counts y whose rate is exp(F): exp(F) - y F, summed over outputs, mean over rows.

    The term log(y!), which does not depend on F, is left out, as `torch.nn.PoissonNLLLoss` leaves it out by default;
    the loss can therefore be negative.

    H = diag(exp F), so r = (exp(F) - y) / (exp(F) + damping). Undamped, r takes exp(F) no smaller than the dtype's
    epsilon, which keeps it finite for any finite outputs; a positive `damping` bounds |r| by max(1, y / damping).
    H and r take exp(F) no larger than half the dtype's largest number.
    Targets: (n, d_out), not negative, of the outputs' dtype.

    Args:
        damping: lambda added to H; 0 by default.

    Raises:
        ValueError: damping is negative or not finite.
    """

    def __init__(self, damping: float = 0.0) -> None:
        super().__init__()
        require_damping(damping)
        self.damping = damping

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        require_like(outputs, targets, "convert counts with targets.to(outputs.dtype)")
        low, high = torch.stack(targets.aminmax()).tolist()
        if not 0 <= low <= high < float("inf"):
            raise ValueError(f"targets from {low:g} to {high:g}; expected counts: finite and not negative")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.exp() - targets * outputs).sum(-1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.exp() - targets

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (self._rate(outputs) + self.damping).diag_embed()

    def direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        smallest = torch.finfo(outputs.dtype).eps if self.damping == 0.0 else 0.0
        rate = self._rate(outputs).clamp_min(smallest)
        return (rate - targets) / (rate + self.damping)

    def root(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        # No entry is left out, however small: a diagonal has no rounding to hide it, and r is large where it is small.
        return weighed((self._rate(outputs) + self.damping).sqrt().diag_embed(), sample_weight)

    def extra_repr(self) -> str:
        return f"damping={self.damping}"

    def _rate(self, outputs: Tensor) -> Tensor:
        # Of an infinite rate r would be inf / inf.
        return outputs.exp().clamp_max(torch.finfo(outputs.dtype).max / 2)
