"""Losses whose outputs do not interact, so that H is diagonal: binary cross-entropy, and Poisson regression."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from revgn.losses.checks import require_damping, require_like, weights_of
from revgn.losses.loss import GaussNewtonLoss, weighed


class DiagonalLoss(GaussNewtonLoss):
    """A loss with H = diag(h) + damping I; a subclass gives h.

    Args:
        damping: lambda added to H; 0 by default.

    Raises:
        ValueError: damping is negative or not finite.
    """

    def __init__(self, damping: float = 0.0) -> None:
        super().__init__()
        require_damping(damping)
        self.damping = damping

    def diagonal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The undamped h, (n, d_out)."""
        raise NotImplementedError

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (self.diagonal(outputs, targets) + self.damping).diag_embed()

    def root(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        # No entry is left out, however small: a diagonal has no rounding to hide it, and r is large where it is small.
        weights = self.row_weight(outputs, targets, sample_weight)
        return weighed((self.diagonal(outputs, targets) + self.damping).sqrt().diag_embed(), weights)

    def extra_repr(self) -> str:
        return f"damping={self.damping}"


class BCEWithLogitsLoss(DiagonalLoss):
    """Binary cross-entropy of sigmoid(F), for labels that do not exclude each other; p = sigmoid(F).

    It is summed over outputs, mean over rows. H = diag(p (1 - p)) + damping I, so r = (p - y) / (p (1 - p) + damping).
    Undamped (the default), r takes p and 1 - p no smaller than the dtype's epsilon, which keeps it finite for any
    finite outputs. Targets: (n, d_out) in [0, 1], of the outputs' dtype.

    Args:
        damping: lambda added to H; 0 by default.
        pos_weight: (d_out,), how many times the label 1 counts in each output, in value, gradient and H, or (1,) for
            all outputs; None, the default: once. It changes r only of targets between 0 and 1, or with a damping.

    Raises:
        ValueError: as `DiagonalLoss`; pos_weight not positive or not finite.
    """

    def __init__(self, damping: float = 0.0, *, pos_weight: Sequence[float] | Tensor | None = None) -> None:
        super().__init__(damping)
        self.pos_weight = weights_of("pos_weight", pos_weight, zero=False)

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        if self.pos_weight is not None and len(self.pos_weight) not in (1, outputs.shape[1]):
            raise ValueError(
                f"pos_weight for {len(self.pos_weight)} outputs; expected one for each of {outputs.shape[1]}"
            )
        require_like(outputs, targets, "convert labels with targets.to(outputs.dtype)")
        if not (targets.ge(0) & targets.le(1)).all():
            raise ValueError(f"targets from {targets.min():g} to {targets.max():g}; expected probabilities in [0, 1]")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        weight = None if self.pos_weight is None else self.pos_weight.to(outputs)
        value = functional.binary_cross_entropy_with_logits(outputs, targets, pos_weight=weight, reduction="none")
        return value.sum(-1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        # p - y = p (1 - y) - q y with q = 1 - p had from the other side, so that neither cancels.
        return outputs.sigmoid() * (1 - targets) - (-outputs).sigmoid() * self._positive(targets)

    def diagonal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (1 - targets + self._positive(targets)) * outputs.sigmoid() * (-outputs).sigmoid()

    def direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.damping > 0.0:
            return self.gradient(outputs, targets) / (self.diagonal(outputs, targets) + self.damping)
        smallest = torch.finfo(outputs.dtype).eps
        p, q = outputs.sigmoid().clamp_min(smallest), (-outputs).sigmoid().clamp_min(smallest)
        positive = self._positive(targets)
        return ((1 - targets) / q - positive / p) / (1 - targets + positive)

    def extra_repr(self) -> str:
        weight = "" if self.pos_weight is None else f", pos_weight={self.pos_weight.tolist()}"
        return super().extra_repr() + weight

    def _positive(self, targets: Tensor) -> Tensor:
        """How much the label 1 counts, (n, d_out)."""
        return targets if self.pos_weight is None else self.pos_weight.to(targets) * targets


class PoissonNLLLoss(DiagonalLoss):
    """Negative log-likelihood of counts y whose rate is exp(F): exp(F) - y F, summed over outputs, mean over rows.

    The term log(y!) is left out, as `torch.nn.PoissonNLLLoss` leaves it out by default: the loss can be negative.

    H = diag(exp F) + damping I, so r = (exp(F) - y) / (exp(F) + damping). Undamped (the default), r takes exp(F) no
    smaller than the dtype's epsilon, which keeps it finite for any finite outputs; a positive `damping` bounds |r| by
    max(1, y / damping). H and r take exp(F) no larger than half the dtype's largest number.
    Targets: (n, d_out), not negative, of the outputs' dtype. Errors: as `DiagonalLoss`.
    """

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        require_like(outputs, targets, "convert counts with targets.to(outputs.dtype)")
        low, high = torch.stack(targets.aminmax()).tolist()
        if not 0 <= low <= high < float("inf"):
            raise ValueError(f"targets from {low:g} to {high:g}; expected counts: finite and not negative")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.exp() - targets * outputs).sum(-1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.exp() - targets

    def diagonal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.exp().clamp_max(torch.finfo(outputs.dtype).max / 2)  # of an infinite rate r would be inf / inf

    def direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        smallest = torch.finfo(outputs.dtype).eps if self.damping == 0.0 else 0.0
        rate = self.diagonal(outputs, targets).clamp_min(smallest)
        return (rate - targets) / (rate + self.damping)
