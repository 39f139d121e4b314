"""How good a network is on given rows."""

import math

import torch
from sklearn.metrics import r2_score
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_accuracy

_CHUNK = 4096  # rows at a time: features of a wide network on a whole test set need not fit into memory


@torch.no_grad()
def evaluate(
    model: nn.Module, loss: nn.Module, inputs: Tensor, targets: Tensor, classes: int | None
) -> dict[str, float]:
    """The loss, and what tells most about the predictions: accuracy for classes, the R^2 score for quantities.

    Args:
        model: from inputs (n, d) to outputs (n, d_out).
        loss: mean over rows.
        inputs: all rows, as the model takes them.
        targets: all rows, as the loss takes them.
        classes: how many there are; None for regression.
    """
    outputs = torch.cat([model(chunk) for chunk in inputs.split(_CHUNK)])
    return {"loss": float(loss(outputs, targets)), **score(outputs, targets, classes)}


def score(outputs: Tensor, targets: Tensor, classes: int | None) -> dict[str, float]:
    """The accuracy in percent, or the R^2 score where there are no classes (and rows enough to have a variance)."""
    if classes is None:
        if len(outputs) < 2:
            return {}
        # Not torchmetrics' score, whose fixed tolerance takes targets that vary little for constant ones.
        known = bool(outputs.isfinite().all())
        return {"r2": r2_score(targets.double().cpu(), outputs.double().cpu()) if known else math.nan}
    labels = targets.argmax(-1) if targets.is_floating_point() else targets  # probabilities or class indices
    return {"accuracy": 100.0 * float(multiclass_accuracy(outputs.argmax(-1), labels, classes, average="micro"))}
