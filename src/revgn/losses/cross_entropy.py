"""Cross-entropy of the softmax of logits, for classes that exclude each other."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from revgn.losses.checks import require_damping, require_like, weights_of
from revgn.losses.loss import GaussNewtonLoss, identities, weighed
from revgn.naming import unknown_name


class CrossEntropyLoss(GaussNewtonLoss):
    """Cross-entropy of softmax(F), mean over rows; p = softmax(F), y the target distribution; the gradient is p - y.

    - `curvature="identity"`: H taken as I, r = p - y. What the authors train with: bounded, never a full Newton step.
    - `curvature="exact"`: H = diag(p) - p p^T, the generalised Gauss-Newton matrix of Schraudolph (2002). r takes p no
      smaller than the dtype's epsilon, which keeps it finite for any finite outputs, but only a positive `damping`
      bounds it, by 1 / damping.

    Targets: class indices (n,) int64, or probabilities (n, d_out) of the outputs' dtype, as for torch's loss.

    Class weights w reweigh the target distribution: a row with the (smoothed) distribution y counts sum_c w_c y_c
    times, and its distribution is w y over that. So the rows of a class count as with that `sample_weight`, and the
    loss is torch's; but where w meets smoothing or probabilities, torch divides by another number for the whole batch.

    Args:
        curvature: "identity" (the default) or "exact"; kept as the attribute `curvature_kind`.
        damping: lambda added to the exact H; 0, the default, for the pseudo-inverse.
        label_smoothing: weight of the uniform distribution in the targets, in [0, 1]; 0 by default.
        class_weight: w, (d_out,), how much each class counts; None, the default: all alike.
        ignore_index: the class index of rows that do not count, -100 by torch's convention; None, the default: there
            is none, and an index outside 0 to d_out - 1 is an error. Value and gradient of such rows mean nothing.

    Raises:
        ValueError: unknown curvature; damping negative or given with curvature "identity"; label_smoothing
            outside [0, 1]; class_weight negative, not finite or all zero.
    """

    def __init__(
        self,
        curvature: Literal["identity", "exact"] = "identity",
        damping: float = 0.0,
        label_smoothing: float = 0.0,
        *,
        class_weight: Sequence[float] | Tensor | None = None,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        if curvature not in ("identity", "exact"):
            raise ValueError(unknown_name("curvature", curvature, ("identity", "exact")))
        require_damping(damping)
        if damping and curvature == "identity":
            raise ValueError(f"damping={damping} has no meaning with curvature='identity'; use curvature='exact'")
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
        self.curvature_kind = curvature
        self.damping = damping
        self.label_smoothing = label_smoothing
        self.class_weight = weights_of("class_weight", class_weight, zero=True)
        self.ignore_index = ignore_index

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        classes = outputs.shape[1]
        if self.class_weight is not None and len(self.class_weight) != classes:
            raise ValueError(f"class_weight for {len(self.class_weight)} classes; expected one for each of {classes}")
        if targets.is_floating_point():
            require_like(outputs, targets, "or class indices (n,) of torch.int64")
            if not (targets.ge(0).all() & (targets.sum(-1) - 1).abs().le(1e-3).all()):
                raise ValueError("probability targets must not be negative and must sum to 1 in each row")
            return
        if targets.dtype != torch.int64 or targets.ndim != 1:
            column = ".squeeze(1)" if targets.shape == (len(outputs), 1) else ""
            long = "" if targets.dtype == torch.int64 else ".long()"
            advice = f"; call targets{column}{long}" if targets.ndim == 1 or column else ""
            raise TypeError(
                f"targets of {targets.dtype} and shape {tuple(targets.shape)}; expected class indices (n,) of "
                f"torch.int64, or probabilities (n, {classes}) of {outputs.dtype}{advice}"
            )
        if self.ignore_index is not None:
            targets = targets[targets != self.ignore_index]
            if not len(targets):  # `check` says so
                return
        low, high = torch.stack(targets.aminmax()).tolist()  # both in one transfer from the device
        if low < 0 or high >= classes:
            raise ValueError(f"class indices from {low} to {high}; with {classes} outputs expected 0 to {classes - 1}")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.class_weight is not None:
            targets = self._distribution(outputs, targets)
            return functional.cross_entropy(outputs, targets, reduction="none")
        targets = self._legal(targets, outputs.shape[1])
        return functional.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing, reduction="none")

    def own_weight(self, targets: Tensor) -> Tensor | None:
        if targets.is_floating_point():
            return self._weight_of_probabilities(targets)
        counts = None if self.ignore_index is None else targets != self.ignore_index
        if self.class_weight is None:
            # Rows that all count alike have no weights: the step is then the plain one.
            return None if counts is None or bool(counts.all()) else counts.to(torch.float64)
        weight = self.class_weight.to(targets.device)
        own = weight[targets.long().clamp(0, len(weight) - 1)]  # not checked yet
        own = (1 - self.label_smoothing) * own + self.label_smoothing * weight.mean()
        return own if counts is None else own * counts

    def _weight_of_probabilities(self, targets: Tensor) -> Tensor | None:
        if self.class_weight is None or targets.shape[1:] != self.class_weight.shape:
            return None
        weight = self.class_weight.to(targets.device)
        return self._smoothed(targets.to(weight.dtype), len(weight)) @ weight

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.softmax(-1) - self._distribution(outputs, targets)

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        if self.curvature_kind == "identity":
            return None
        p = outputs.softmax(-1)
        return p.diag_embed() - p.unsqueeze(-1) * p.unsqueeze(-2) + self.damping * identities(outputs)[:1]

    def direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        gradient = self.gradient(outputs, targets)
        if self.curvature_kind == "identity":
            return gradient
        # Sherman-Morrison for (D - p p^T)^-1 (p - y), D = diag(p) + lambda. As p and y sum to one, lambda cancels from
        # the quotient that it brings in; at lambda = 0 what is left is the pseudo-inverse.
        p = outputs.softmax(-1)
        diagonal = (p + self.damping).clamp_min(torch.finfo(p.dtype).eps)
        scaled, share = gradient / diagonal, p / diagonal
        return scaled - share * (scaled.sum(-1, keepdim=True) / share.sum(-1, keepdim=True))

    def root(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor | None:
        if self.curvature_kind == "identity" or self.damping or outputs.shape[1] == 1:
            return super().root(outputs, targets, sample_weight)
        return weighed(_undamped_root(outputs.softmax(-1)), self.row_weight(outputs, targets, sample_weight))

    def extra_repr(self) -> str:
        own = {"class_weight": self.class_weight, "ignore_index": self.ignore_index}
        given = [f"{name}={getattr(v, 'tolist', lambda v=v: v)()}" for name, v in own.items() if v is not None]
        common = [f"curvature={self.curvature_kind!r}", f"damping={self.damping}"]
        return ", ".join([*common, f"label_smoothing={self.label_smoothing}", *given])

    def _distribution(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The probabilities (n, d_out) that the step aims at."""
        classes = outputs.shape[1]
        if not targets.is_floating_point():
            targets = functional.one_hot(self._legal(targets, classes), classes).to(outputs.dtype)
        smoothed = self._smoothed(targets, classes)
        if self.class_weight is None:
            return smoothed
        reweighed = smoothed * self.class_weight.to(outputs)
        total = reweighed.sum(-1, keepdim=True)
        return torch.where(total > 0, reweighed / total, smoothed)  # a row without weight: anything but NaN

    def _smoothed(self, probabilities: Tensor, classes: int) -> Tensor:
        return (1 - self.label_smoothing) * probabilities + self.label_smoothing / classes

    def _legal(self, targets: Tensor, classes: int) -> Tensor:
        """Class indices, some other in the place of `ignore_index`: those rows have no weight."""
        return targets if self.ignore_index is None else targets.clamp(0, classes - 1)


def _undamped_root(p: Tensor) -> Tensor:
    """R (n, d_out - 1, d_out) of full row rank with R^T R = diag(p) - p p^T, for probabilities p (n, d_out).

    With s = sqrt(p), a unit vector, H = diag(s) (I - s s^T) diag(s). The reflection that takes s to a coordinate axis m
    is orthogonal, so its rows other than m are a root of I - s s^T. An eigendecomposition of H would find d_out - 1
    eigenvalues only where they stand out of the rounding of p - p^2, which they do not for confident predictions.
    """
    s = p.clamp_min(torch.finfo(p.dtype).eps).sqrt()  # as small as `direction` takes p: no column is zero
    order = s.argsort(-1)
    others, largest = order[:, :-1], order[:, -1:]  # m the largest: the diagonal of the reflection does not cancel
    axis = torch.zeros_like(s).scatter_(1, largest, 1.0)
    normal = (s + axis) / (1 + s.gather(1, largest))
    rows = others.unsqueeze(-1).expand(-1, -1, s.shape[1])
    eye = torch.eye(s.shape[1], dtype=s.dtype, device=s.device).expand(len(s), -1, -1)
    return eye.gather(1, rows) * s.unsqueeze(1) - s.gather(1, others).unsqueeze(-1) * (normal * s).unsqueeze(1)
