"""Binary cross-entropy of logits, for labels that do not exclude each other."""

import torch
from torch import Tensor
from torch.nn import functional

from revgn.losses.base import GaussNewtonLoss
from revgn.losses.checks import require_damping, require_like
from revgn.losses.weights import weighed


class BCEWithLogitsLoss(GaussNewtonLoss):
    """Binary cross-entropy of sigmoid(F), summed over outputs, mean over rows; p = sigmoid(F).

    H = diag(p (1 - p)), so r = (p - y) / (p (1 - p) + damping). Undamped, r takes p and 1 - p no smaller than the
    dtype's epsilon, which keeps it finite for any finite outputs.
    Targets: (n, d_out) in [0, 1], of the outputs' dtype.

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
        require_like(outputs, targets, "convert labels with targets.to(outputs.dtype)")
        if not (targets.ge(0) & targets.le(1)).all():
            raise ValueError(f"targets from {targets.min():g} to {targets.max():g}; expected probabilities in [0, 1]")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(-1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        # p - y = p (1 - y) - q y with q = 1 - p had from the other side, so that neither cancels.
        return outputs.sigmoid() * (1 - targets) - (-outputs).sigmoid() * targets

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._diagonal(outputs).diag_embed()

    def direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.damping == 0.0:
            p, q = outputs.sigmoid(), (-outputs).sigmoid()
            smallest = torch.finfo(p.dtype).eps
            return (1 - targets) / q.clamp_min(smallest) - targets / p.clamp_min(smallest)
        return self.gradient(outputs, targets) / self._diagonal(outputs)

    def root(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        # No entry is left out, however small: a diagonal has no rounding to hide it, and r is large where it is small.
        return weighed(self._diagonal(outputs).sqrt().diag_embed(), sample_weight)

    def extra_repr(self) -> str:
        return f"damping={self.damping}"

    def _diagonal(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid() * (-outputs).sigmoid() + self.damping
