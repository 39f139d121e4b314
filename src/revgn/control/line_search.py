"""Steps as long as the loss falls."""

from dataclasses import dataclass

from revgn.control.control import Attempt, Control, Memory, Trial, require


@dataclass(frozen=True)
class LineSearch(Control):
    """Halves the step until the loss falls by Armijo's rule, and doubles it while the loss falls further.

    The search begins at the length of the step before. A longer step is tried only where the outputs' linear motion
    predicts that it pays: for squared error it never does beyond the full step, for cross-entropy, whose minimum lies
    at infinity, it does at every step, and makes the loss fall ever faster. Costs one forward pass an attempt.

    Args:
        armijo: the share of slope times length by which the loss must fall.
        max_attempts: the most forward passes a step; a step that has not been accepted by then is taken back.

    Raises:
        ValueError: an option out of range.

    Source: Armijo (1966); Nocedal and Wright, Numerical Optimization (2006), algorithm 3.1. The doubling:
    docs/theory.md, "Steps of controlled length".
    """

    armijo: float = 1e-4
    max_attempts: int = 40

    def __post_init__(self) -> None:
        require("armijo", self.armijo, below=1.0)
        require("max_attempts", self.max_attempts)

    def decide(self, trial: Trial, memory: Memory) -> Attempt | None:
        length = memory.get("length", 1.0)
        attempt = trial.attempt(length)
        for tried in range(1, self.max_attempts):
            if self._falls(trial, attempt):
                attempt = self._doubled(trial, attempt, self.max_attempts - tried)
                # A step that had to be short once need not stay so.
                memory["length"] = attempt.length if attempt.length >= 1.0 else min(1.0, 2 * attempt.length)
                return attempt
            length *= 0.5
            attempt = trial.attempt(length)
        memory["length"] = 1.0
        return None

    def _falls(self, trial: Trial, attempt: Attempt) -> bool:
        if not attempt.loss < attempt.before:  # NaN does not, either
            return False
        return attempt.loss <= attempt.before + self.armijo * min(0.0, trial.slope())

    def _doubled(self, trial: Trial, attempt: Attempt, most: int) -> Attempt:
        for _ in range(most):
            if not trial.predicted_loss(2.0) < attempt.loss:
                break
            candidate = trial.attempt(2 * attempt.length)
            if not candidate.loss < attempt.loss:
                break
            attempt = candidate
        return attempt
