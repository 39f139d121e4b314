"""Ridge regression at every step, its strength chosen by the data."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from revgn.control.control import Attempt, Control, Memory, Trial, require
from revgn.naming import unknown_name

RULES = ("gcv", "evidence")
# Strengths that are compared, relative to the largest eigenvalue of the kernel.
STRENGTHS = torch.logspace(-14, 2, 321, dtype=torch.float64)
# What an effective parameter counts in generalised cross-validation: more than one, for the tangent features have been
# fitted to the data too. Of 1 (Craven and Wahba), 1.2 and 1.4 (Kim and Gu) on splits of four tables other than those
# that are reported: by 1 diabetes, friedman1 and Boston overfit, by 1.4 concrete is fitted too little.
COST = 1.2
# lambda falls at most by this factor a step: at random weights the best one of the linear model may be far too small.
SLOWEST = 1 / 3


@dataclass(frozen=True)
class Ridge(Control):
    """Minimises the sum of the rows' losses plus lambda / 2 ||theta||^2, lambda chosen anew at every step.

    The linearised problem is a ridge regression on the tangent features. With K = Q diag(w) Q^T, one eigendecomposition
    a step, every lambda costs N. Chosen is by generalised cross-validation the lambda with the least
    GCV(lambda) = N sum (lambda / (w + lambda))^2 q^2 / (N - 1.2 sum w / (w + lambda))^2, for q = Q^T (r - J theta), or
    that with the largest evidence for weights of prior variance s^2 / lambda; but no less than a third of the step's
    before. The step is halved until the objective falls.
    Needs no validation rows, and keeps a network of more parameters than rows from learning noise.

    For `MoorePenrose` alone. What it has chosen stands in `Report.ridge` and `Report.effective_parameters`.

    Args:
        rule: "gcv", "evidence", or lambda itself.
        max_attempts: the most attempts a step; a step that has not been accepted by then is taken back.

    Raises:
        ValueError: unknown rule; an option out of range.

    Source: Golub, Heath, Wahba (1979), with effective parameters counted more than once, as by Kim and Gu (2004);
    MacKay (1992), Foresee and Hagan (1997), in row space.
    """

    damps: ClassVar[bool] = True

    rule: Literal["gcv", "evidence"] | float = "gcv"
    max_attempts: int = 12

    def __post_init__(self) -> None:
        if isinstance(self.rule, str):
            if self.rule not in RULES:
                raise ValueError(unknown_name("rule", self.rule, RULES))
        else:
            require("rule", self.rule)
        require("max_attempts", self.max_attempts)

    @property
    def chooses(self) -> bool:
        """Whether lambda is chosen at every step, and not given."""
        return isinstance(self.rule, str)

    def decide(self, trial: Trial, memory: Memory) -> Attempt | None:
        w, squares = trial.spectrum()
        if isinstance(self.rule, str):
            strength = max(strength_by(self.rule, w, squares), SLOWEST * memory.get("ridge", 0.0))
        else:
            strength = self.rule
        memory["ridge"] = strength
        memory["effective_parameters"] = float((w / (w + strength)).sum())

        def objective(loss: float, squared_norm: float) -> float:
            return trial.rows * loss + 0.5 * strength * squared_norm

        relative = strength * min(trial.shape) / float(w.sum())  # to the mean diagonal of the smaller Gram matrix
        before, length = objective(trial.loss, trial.squared_norm()), 1.0
        for _ in range(self.max_attempts):
            attempt = trial.attempt(length, relative, shrink=True)
            if objective(attempt.loss, attempt.squared_norm) < before:  # NaN is not
                return attempt
            length *= 0.5
        return None


def strength_by(rule: str, w: Tensor, squares: Tensor) -> float:
    """The ridge's strength lambda by a rule.

    Args:
        rule: "gcv" or "evidence".
        w: eigenvalues of K, (N,), not negative.
        squares: q^2, (N,), of the target in K's eigenvectors.
    """
    strengths = STRENGTHS.to(w.device) * w.max()
    left = strengths / (w.unsqueeze(1) + strengths)  # (N, strengths): the share of each component that is not fitted
    if rule == "gcv":
        score = gcv((left.square() * squares.unsqueeze(1)).sum(0), len(w) - left.sum(0), len(w))
    else:
        # t is normal with covariance s^2 (K / lambda + I), s^2 at its likeliest.
        score = len(w) * (left * squares.unsqueeze(1)).sum(0).log() - left.log().sum(0)
    return float(strengths[score.nan_to_num(nan=torch.inf).argmin()])


def gcv(residual_squares: Tensor, effective_parameters: Tensor, outputs: float) -> Tensor:
    """N ||residual||^2 / (N - 1.2 effective parameters)^2; infinite where nothing is left to tell noise by."""
    free = (outputs - COST * effective_parameters).clamp_min(0.0)
    return torch.where(free > 0, outputs * residual_squares / free.square(), torch.inf)
