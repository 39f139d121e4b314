"""When a fit is over, and what the way it ended says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from revgn.control.ridge import gcv
from revgn.optim import Report

# What to try, by the fit's ending.
ADVICE = {
    "converged": "",
    "stopped": "a callback ended it",
    "max_steps": "the loss may still be falling: call fit again, which goes on from here, with more max_steps",
    "stalled": "no step lowers the loss, or hardly: scale inputs and targets, start elsewhere, or use float64",
    "not_finite": "the loss is not finite wherever steps lead: scale inputs and targets, or bound the parameters by a "
    "parametrization",
}
# Steps within which a fit must get on, and by how much of the loss: flat valleys are crossed slowly.
PATIENCE, LEAST_GAIN = 50, 1e-6
# Steps within which the score of a fit by `Ridge` must fall, and by how much of itself.
SCORE_PATIENCE, LEAST_FALL = 5, 1e-2
# How far above the least decrease that counts a promise may be that the loss does not keep.
ROUNDED = 1e4
# Relative tolerance of steps and gradients where none is given.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}


@dataclass
class Judge:
    """Says when a fit is over.

    Attributes:
        tolerance: of the relative gradient and the relative step; its square of the relative decrease of the loss.
        parameters: those that are fitted.
        scored: whether the control chooses a ridge, step by step.
        best: of such a fit the parameters of the least score so far, and the report of the step that led there; None
            for others.
    """

    tolerance: float
    parameters: Mapping[str, nn.Parameter]
    scored: bool = False
    _losses: list[float] = field(default_factory=list)
    _scores: list[float] = field(default_factory=list)
    best: tuple[dict[str, Tensor], Report] | None = None

    def ending(self, report: Report, step: float, gradient: float) -> tuple[str, str] | None:
        """The fit's ending and its reason after a step; None to go on.

        Args:
            report: of the step.
            step: the largest relative change of a parameter, see `relative_step`.
            gradient: the largest relative gradient where the step led, see `relative_gradient`.
        """
        eps = torch.finfo(report.outputs.dtype).eps
        assert report.new_loss is not None
        self._losses.append(report.new_loss if report.accepted else report.loss)
        if self.scored and self._has_passed_its_best(report):
            return "converged", "generalised cross-validation"
        if gradient <= self.tolerance:
            return "converged", "gradient"
        # Sizes of losses, as some are negative: that of counts is a likelihood without its constant.
        if abs(self._losses[-1]) <= (4 * eps) ** 2 * abs(self._losses[0]):
            return "converged", "loss"
        # Decreases below the rounding of the loss are none.
        smallest = max(self.tolerance**2, 4 * eps)
        promised = (report.loss - report.predicted_loss) / abs(report.loss)
        if not report.accepted:
            if report.status == "not finite":
                return "not_finite", "loss"
            # Where even the least damped step promised next to nothing, the rounding of the loss has ended the fit.
            return ("converged", "loss") if abs(promised) <= ROUNDED * smallest else ("stalled", "loss")
        if report.attempts == 1 and step <= self.tolerance:
            return "converged", "step"
        # Not less than nothing: while a ridge takes over, the loss may rise for the sake of smaller parameters.
        if abs(report.loss - report.new_loss) <= smallest * abs(report.loss) and abs(promised) <= smallest:
            return "converged", "loss"
        if len(self._losses) > PATIENCE:
            before = self._losses[-1 - PATIENCE]
            if before - self._losses[-1] < LEAST_GAIN * abs(before):
                return "stalled", "loss"
        return None

    def _has_passed_its_best(self, report: Report) -> bool:
        """Whether generalised cross-validation after the step has hardly fallen for some steps.

        Each step's ridge regression takes the tangent features as given, and the features have been fitted to the data
        by the steps before: the effective parameters grow, and in the end the error on new rows with them.
        """
        assert report.effective_parameters is not None
        loss, used = torch.tensor([self._losses[-1], report.effective_parameters], dtype=torch.float64)
        self._scores.append(float(gcv(loss, used, report.outputs.numel())))
        if self._scores[-1] == min(self._scores):
            self.best = {name: p.detach().clone() for name, p in self.parameters.items()}, report
        before = self._scores[:-SCORE_PATIENCE]
        return bool(before) and min(self._scores) > (1 - LEAST_FALL) * min(before)


def relative_step(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """The largest |change| / max(|parameter|, 1e-3 of its tensor's largest) of all entries."""
    return max(float(((after[name] - old).abs() / _scale(old)).max()) for name, old in before.items())


def relative_gradient(parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], loss: float) -> float:
    """The largest |gradient| |parameter| / loss: by how much of itself the loss changes as a parameter doubles.

    Source: Dennis and Schnabel, Numerical Methods for Unconstrained Optimization (1983), section 7.2.
    """
    if loss == 0.0:
        return 0.0
    return max(float((gradients[name].abs() * _scale(p)).max()) for name, p in parameters.items()) / abs(loss)


def _scale(p: Tensor) -> Tensor:
    largest = p.abs().max()
    return torch.maximum(p.abs(), torch.where(largest > 0, 1e-3 * largest, 1.0))
