"""Levenberg-Marquardt: damping by the gain ratio."""

from dataclasses import dataclass
from typing import ClassVar

from revgn.control.control import Attempt, Control, Memory, Trial, require


@dataclass(frozen=True)
class TrustRegion(Control):
    """Damps the step until the loss falls; the better it was predicted, the less the next one is damped.

    After an accepted step of gain ratio rho, lambda is multiplied by max(0.1, 1 - (2 rho - 1)^3); after a rejected one
    by 2, 4, 8, ... A step that raises the loss, or leaves it not finite, is never accepted. Another damping costs a
    factorisation of the Gram matrix, and no new one; each attempt costs a forward pass.

    Args:
        damping: lambda of the first step, relative to the mean diagonal of the Gram matrix; None: 1e-3, or 100 where
            there are fewer parameters than outputs: curves may be far from linear where they start, and their steps
            are cheap.
        max_attempts: the most attempts a step; one that has not been accepted by then is taken back, and the damping
            that it ended with is where the next step begins.

    Raises:
        ValueError: an option out of range.

    Source: Nielsen, Damping Parameter in Marquardt's Method (1999); Madsen, Nielsen, Tingleff, Methods for Non-Linear
    Least Squares Problems (2004), algorithm 3.16, where the 0.1 is 1/3.
    """

    damps: ClassVar[bool] = True

    damping: float | None = None
    max_attempts: int = 12

    def __post_init__(self) -> None:
        if self.damping is not None:
            require("damping", self.damping)
        require("max_attempts", self.max_attempts)

    def decide(self, trial: Trial, memory: Memory) -> Attempt | None:
        first = (1e-3 if trial.shape[1] >= trial.shape[0] else 1e2) if self.damping is None else self.damping
        damping, growth = memory.get("damping", first), 2.0
        accepted = None
        for _ in range(self.max_attempts):
            attempt = trial.attempt(damping=damping)
            rho = attempt.gain_ratio
            if rho > 0 and attempt.loss < attempt.before:
                damping *= max(0.1, 1 - (2 * rho - 1) ** 3)
                accepted = attempt
                break
            # A step that by the linear model raises the loss is too long, as learning rates above 1 may make it.
            predicted = abs(attempt.before - attempt.predicted_loss)
            if attempt.finite and predicted <= 4 * trial.smallest * abs(attempt.before):
                break  # not even by the linear model would a step be seen in the loss
            damping *= growth
            growth *= 2
        # Below the dtype's epsilon lambda changes nothing, and would take ever longer to come back.
        memory["damping"] = min(max(damping, trial.smallest), LARGEST)
        return accepted


# Steps so much damped are gradient steps of no length.
LARGEST = 1e12
