"""PyTorch's own losses, taken for those of `revgn.losses` that ask for the same step."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from revgn.losses.cross_entropy import CrossEntropyLoss
from revgn.losses.diagonal import BCEWithLogitsLoss, PoissonNLLLoss
from revgn.losses.loss import GaussNewtonLoss
from revgn.losses.robust import Robust
from revgn.losses.squared import MSELoss


def from_torch(loss: object) -> GaussNewtonLoss:
    """The loss of `revgn.losses` that a loss of `torch.nn` stands for; a `GaussNewtonLoss` as it is.

    Gradients differ by the factor below and nothing else, so that both losses have the same minima; the step does not
    depend on the factor, but the loss in reports does. n rows, d_out outputs:

    | torch.nn, reduction="mean" | taken for | torch's value over ours |
    |---|---|---|
    | MSELoss() | MSELoss() | 2 / d_out |
    | CrossEntropyLoss(weight, ignore_index, label_smoothing) | CrossEntropyLoss(class_weight=...) | 1, but see below |
    | BCEWithLogitsLoss(pos_weight) | BCEWithLogitsLoss(pos_weight=...) | 1 / d_out |
    | PoissonNLLLoss(full) | PoissonNLLLoss() | 1 / d_out; full=True adds a constant of the targets |
    | HuberLoss(delta), one output | Robust("huber", scale=delta) | 1 |
    | SmoothL1Loss(beta), one output | Robust("huber", scale=beta) | 1 / beta |

    Where class weights w meet smoothing or probabilities, ours is divided by sum_i sum_c w_c y_ic of the smoothed
    distributions y; torch divides by sum_i w[y_i] for indices, and by n for probabilities. The curvature of
    cross-entropy is "identity": for another one use `revgn.losses.CrossEntropyLoss("exact", ...)`.

    Raises:
        TypeError: no loss of those, or a subclass of one, which may compute anything.
        ValueError: an option that none of ours has.
    """
    if isinstance(loss, GaussNewtonLoss):
        return loss
    if type(loss) in ADOPTED:
        _require_mean(loss)
        return ADOPTED[type(loss)](loss)
    raise TypeError(f"loss is {_described(loss)}; {_advice(loss)}")


class HuberOfOneOutput(Robust):
    """`Robust("huber")` of models with one output, where the norm of a row is the size of its only residual.

    Args:
        theirs: name of the loss of torch, for the message.
        scale: from which residual on a row counts by its size.
    """

    def __init__(self, theirs: str, scale: float) -> None:
        super().__init__("huber", scale=scale)
        self.theirs = theirs

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        if outputs.shape[1] != 1:
            raise ValueError(
                f"torch.nn.{self.theirs} with {outputs.shape[1]} outputs judges each output by itself, and "
                f"revgn.losses.Robust each row by its norm: they agree for one output only; if rows are what lies far "
                f"out, use revgn.losses.Robust('huber', scale={self.scale:g})"
            )
        super().check_targets(outputs, targets)


def _squared(loss: Any) -> MSELoss:
    return MSELoss()


def _cross_entropy(loss: Any) -> CrossEntropyLoss:
    smoothing, ignored = loss.label_smoothing, loss.ignore_index
    return CrossEntropyLoss(label_smoothing=smoothing, class_weight=loss.weight, ignore_index=ignored)


def _binary(loss: Any) -> BCEWithLogitsLoss:
    if loss.weight is not None:
        raise ValueError(
            "torch.nn.BCEWithLogitsLoss with weight, which may belong to rows or to outputs; expected none: weights of "
            "rows are sample_weight=, those of the label 1 pos_weight="
        )
    weight = loss.pos_weight
    if weight is not None and weight.ndim == 0:
        weight = weight.reshape(1)
    return BCEWithLogitsLoss(pos_weight=weight)


def _poisson(loss: Any) -> PoissonNLLLoss:
    if not loss.log_input:
        raise ValueError(
            "torch.nn.PoissonNLLLoss with log_input=False, of outputs that are rates; expected log_input=True: let the "
            "model give the logarithm of the rate"
        )
    return PoissonNLLLoss()


def _huber(loss: Any) -> Robust:
    return HuberOfOneOutput("HuberLoss", float(loss.delta))


def _smooth(loss: Any) -> Robust:
    if loss.beta <= 0:
        raise ValueError("torch.nn.SmoothL1Loss with beta=0 is L1Loss, which has no curvature; expected beta > 0")
    return HuberOfOneOutput("SmoothL1Loss", float(loss.beta))


ADOPTED: dict[type, Callable[[Any], GaussNewtonLoss]] = {
    nn.MSELoss: _squared,
    nn.CrossEntropyLoss: _cross_entropy,
    nn.BCEWithLogitsLoss: _binary,
    nn.PoissonNLLLoss: _poisson,
    nn.HuberLoss: _huber,
    nn.SmoothL1Loss: _smooth,
}

# What to use in the place of others, by name: their functions are called alike, in the style of functions.
NEAREST = {
    "L1Loss": "its curvature is zero: use revgn.losses.Robust('soft_l1', scale=...) with a small scale",
    "NLLLoss": "use CrossEntropyLoss, on a model without the LogSoftmax at its end",
    "BCELoss": "use BCEWithLogitsLoss, on a model without the Sigmoid at its end",
    "KLDivLoss": "use CrossEntropyLoss with probabilities for targets, which differs by their entropy, on logits",
    "SoftMarginLoss": "use BCEWithLogitsLoss with the targets 0 and 1 in the place of -1 and 1",
    "MultiLabelSoftMarginLoss": "use BCEWithLogitsLoss",
    "MultiMarginLoss": "use CrossEntropyLoss",
    "MultiLabelMarginLoss": "use BCEWithLogitsLoss",
    "GaussianNLLLoss": "use MSELoss with sample_weight=1 / var, for variances that are known",
}  # fmt: skip
FUNCTIONS = {
    "mse_loss": "MSELoss",
    "cross_entropy": "CrossEntropyLoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
    "poisson_nll_loss": "PoissonNLLLoss",
    "huber_loss": "Robust",
    "smooth_l1_loss": "Robust",
    "l1_loss": "Robust",
    "nll_loss": "CrossEntropyLoss",
    "binary_cross_entropy": "BCEWithLogitsLoss",
}
OWN = "use one of revgn.losses, or a GaussNewtonLoss of your own, whose value(outputs, targets) gives (n,)"


def _require_mean(loss: Any) -> None:
    if loss.reduction != "mean":
        raise ValueError(
            f"torch.nn.{type(loss).__name__} with reduction={loss.reduction!r}; expected 'mean': the step does not "
            "depend on the scale of the loss, and weights of rows are sample_weight="
        )


def _described(loss: object) -> str:
    if isinstance(loss, type):
        return f"the class {loss.__name__}"
    if callable(loss) and hasattr(loss, "__name__"):
        return f"the function {vars(loss).get('__name__', getattr(loss, '__name__', ''))}"
    for theirs in ADOPTED:
        if isinstance(loss, theirs):
            return f"a {type(loss).__name__}, a subclass of torch.nn.{theirs.__name__}"
    return f"a {type(loss).__name__}"


def _advice(loss: object) -> str:
    if isinstance(loss, type):
        return f"expected an object: {loss.__name__}()"
    name = str(getattr(loss, "__name__", type(loss).__name__))
    if name in FUNCTIONS:
        return f"expected an object with a curvature: use revgn.losses.{FUNCTIONS[name]}"
    if type(loss).__module__.startswith("torch.nn.") and name in NEAREST:
        return NEAREST[name]
    for theirs in ADOPTED:
        if isinstance(loss, theirs):
            return (
                f"it may compute anything: use torch.nn.{theirs.__name__} itself, or a GaussNewtonLoss with its value"
            )
    if type(loss).__module__.startswith("torch.nn."):
        return f"{OWN}; or revgn.LevenbergMarquardt(model, residuals=...)"
    return OWN
