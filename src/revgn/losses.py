"""Losses that also know r = H^+ grad, the direction in output space that a Gauss-Newton step follows.

Every loss is a sum over outputs and a mean over rows; `direction` is per row, so it does not depend on the mean.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from revgn._names import unknown_name


@dataclass(frozen=True, eq=False)
class LossPoint:
    """A loss around given outputs, whose targets were checked once.

    Attributes:
        value: the loss there, a scalar.
        direction: r there, (n, d_out).
    """

    value: Tensor
    direction: Tensor
    _loss: "GaussNewtonLoss"
    _outputs: Tensor
    _targets: Tensor

    def after(self, steps: float) -> Tensor:
        """The loss where the outputs have moved by so many times -r."""
        return self._loss._value(self._outputs - steps * self.direction, self._targets)  # pyright: ignore[reportPrivateUsage]


class GaussNewtonLoss(nn.Module):
    """Base class of the losses: what a loss must provide to be trained by Gauss-Newton.

    A subclass implements `_check_targets`, `_value`, `_direction` and `_hessian` for outputs of floating dtype and
    shape (n, d_out) and for targets that its `_check_targets` accepts.
    """

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss: a scalar, mean over the n rows.

        Raises:
            ValueError, TypeError: outputs or targets have the wrong shape, dtype, device or values.
        """
        self._check(outputs, targets)
        return self._value(outputs, targets)

    def direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The direction r = (H + damping I)^+ grad, row by row: (n, d_out). F - r is a full Newton step.

        Raises:
            ValueError, TypeError: as `forward`.
        """
        self._check(outputs, targets)
        return self._direction(outputs, targets)

    def at(self, outputs: Tensor, targets: Tensor) -> LossPoint:
        """Loss and direction together, and the loss along the direction.

        Raises:
            ValueError, TypeError: as `forward`.
        """
        self._check(outputs, targets)
        value, direction = self._value(outputs, targets), self._direction(outputs, targets)
        return LossPoint(value, direction, self, outputs, targets)

    def hessian(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """H + damping I of every row, (n, d_out, d_out), as `direction` inverts it."""
        self._check(outputs, targets)
        return self._hessian(outputs, targets)

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        if outputs.ndim != 2 or outputs.shape[0] == 0:
            raise ValueError(f"outputs of shape {tuple(outputs.shape)}; expected (n, d_out) with at least one row")
        if targets.shape[:1] != outputs.shape[:1]:
            raise ValueError(f"{len(targets) if targets.ndim else 'scalar'} targets for {len(outputs)} rows of outputs")
        if targets.device != outputs.device:
            raise ValueError(f"targets on {targets.device}, outputs on {outputs.device}; move one: targets.to(device)")
        self._check_targets(outputs, targets)

    def _check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        raise NotImplementedError

    def _value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError

    def _direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError

    def _hessian(self, outputs: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError


class MSELoss(GaussNewtonLoss):
    """Squared error: 0.5 ||F - Y||^2, summed over outputs, mean over rows; r = F - Y, H = I.

    Note the factor 0.5, and the sum over outputs where `torch.nn.MSELoss` takes the mean.
    Targets: (n, d_out), of the outputs' dtype.
    """

    def _check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        _require_like(outputs, targets, "class indices need a one-hot encoding: torch.nn.functional.one_hot")

    def _value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (outputs - targets).square().sum(-1).mean()

    def _direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs - targets

    def _hessian(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device).expand(len(outputs), -1, -1)


class CrossEntropyLoss(GaussNewtonLoss):
    """Cross-entropy of softmax(F); p = softmax(F), y the target distribution.

    - `curvature="identity"`: H taken as I, r = p - y. What the authors train with: bounded, never a full Newton step.
    - `curvature="exact"`: H = diag(p) - p p^T, the generalised Gauss-Newton matrix. r is then unbounded as the
      probability of the target goes to 0; p is taken no smaller than the dtype's epsilon, which keeps r finite for
      any finite outputs. A positive `damping` bounds r by 1 / damping.

    Targets: class indices (n,) int64, or probabilities (n, d_out) of the outputs' dtype, as for torch's loss.

    Args:
        curvature: "identity" or "exact".
        damping: lambda added to the exact H; 0 for the pseudo-inverse.
        label_smoothing: weight of the uniform distribution in the targets, in [0, 1].

    Raises:
        ValueError: unknown curvature; damping negative or given with curvature "identity"; label_smoothing
            outside [0, 1].

    Source: theory, section Losses; H is that of Schraudolph (2002).
    """

    def __init__(
        self,
        curvature: Literal["identity", "exact"] = "identity",
        damping: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if curvature not in ("identity", "exact"):
            raise ValueError(unknown_name("curvature", curvature, ("identity", "exact")))
        _require_damping(damping)
        if damping and curvature == "identity":
            raise ValueError(f"damping={damping} has no meaning with curvature='identity'; use curvature='exact'")
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
        self.curvature = curvature
        self.damping = damping
        self.label_smoothing = label_smoothing

    def _check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        classes = outputs.shape[1]
        if targets.is_floating_point():
            _require_like(outputs, targets, "or class indices (n,) of torch.int64")
            if not (targets.ge(0).all() & (targets.sum(-1) - 1).abs().le(1e-3).all()):
                raise ValueError("probability targets must not be negative and must sum to 1 in each row")
            return
        if targets.dtype != torch.int64 or targets.ndim != 1:
            raise TypeError(
                f"targets of {targets.dtype} and shape {tuple(targets.shape)}; expected class indices (n,) of "
                f"torch.int64, or probabilities (n, {classes}) of {outputs.dtype}"
            )
        low, high = torch.stack(targets.aminmax()).tolist()  # both in one transfer from the device
        if low < 0 or high >= classes:
            raise ValueError(f"class indices from {low} to {high}; with {classes} outputs expected 0 to {classes - 1}")

    def _value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    def _direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        p, y = outputs.softmax(-1), self._distribution(outputs, targets)
        if self.curvature == "identity":
            return p - y
        # Sherman-Morrison for (D - p p^T)^-1 (p - y), D = diag(p) + lambda. As p and y sum to one, lambda cancels from
        # the quotient that it brings in; at lambda = 0 what is left is the pseudo-inverse.
        diagonal = (p + self.damping).clamp_min(torch.finfo(p.dtype).eps)
        scaled, share = (p - y) / diagonal, p / diagonal
        return scaled - share * (scaled.sum(-1, keepdim=True) / share.sum(-1, keepdim=True))

    def _hessian(self, outputs: Tensor, targets: Tensor) -> Tensor:
        eye = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
        if self.curvature == "identity":
            return eye.expand(len(outputs), -1, -1)
        p = outputs.softmax(-1)
        return p.diag_embed() - p.unsqueeze(-1) * p.unsqueeze(-2) + self.damping * eye

    def _distribution(self, outputs: Tensor, targets: Tensor) -> Tensor:
        classes = outputs.shape[1]
        if not targets.is_floating_point():
            targets = functional.one_hot(targets, classes).to(outputs.dtype)
        return (1 - self.label_smoothing) * targets + self.label_smoothing / classes


class BCEWithLogitsLoss(GaussNewtonLoss):
    """Binary cross-entropy of sigmoid(F), summed over outputs, mean over rows; p = sigmoid(F).

    H = diag(p (1 - p)), so r = (p - y) / (p (1 - p) + damping). Undamped, p and 1 - p are taken no smaller than the
    dtype's epsilon, which keeps r finite for any finite outputs.
    Targets: (n, d_out) in [0, 1], of the outputs' dtype.

    Args:
        damping: lambda added to H.

    Raises:
        ValueError: damping is negative or not finite.
    """

    def __init__(self, damping: float = 0.0) -> None:
        super().__init__()
        _require_damping(damping)
        self.damping = damping

    def _check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        _require_like(outputs, targets, "convert labels with targets.to(outputs.dtype)")
        if not (targets.ge(0) & targets.le(1)).all():
            raise ValueError(f"targets from {targets.min():g} to {targets.max():g}; expected probabilities in [0, 1]")

    def _value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(-1).mean()

    def _direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        # p - y = p (1 - y) - q y with q = 1 - p had from the other side, so that neither cancels.
        p, q = outputs.sigmoid(), (-outputs).sigmoid()
        if self.damping == 0.0:
            smallest = torch.finfo(p.dtype).eps
            return (1 - targets) / q.clamp_min(smallest) - targets / p.clamp_min(smallest)
        return (p * (1 - targets) - q * targets) / (p * q + self.damping)

    def _hessian(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.sigmoid() * (-outputs).sigmoid() + self.damping).diag_embed()


def _require_like(outputs: Tensor, targets: Tensor, advice: str) -> None:
    if targets.shape != outputs.shape or targets.dtype != outputs.dtype:
        raise (TypeError if targets.shape == outputs.shape else ValueError)(
            f"targets of {targets.dtype} and shape {tuple(targets.shape)}; expected {outputs.dtype} and the outputs' "
            f"shape {tuple(outputs.shape)}; {advice}"
        )


def _require_damping(damping: float) -> None:
    if not 0.0 <= damping < float("inf"):
        raise ValueError(f"damping must be finite and not negative, got {damping}")
