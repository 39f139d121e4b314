"""Steps of the length that the learning rate says."""

from dataclasses import dataclass

from revgn.control.control import Attempt, Control, Memory, Trial


@dataclass(frozen=True)
class Fixed(Control):
    """The step as it is, whatever becomes of the loss, as long as that stays finite; else the step is taken back.

    What torch's own optimizers do, with a gain ratio to tell whether it was a good idea. Costs one forward pass beyond
    `backward` and `step`.
    """

    def decide(self, trial: Trial, memory: Memory) -> Attempt | None:
        attempt = trial.attempt()
        return attempt if attempt.finite else None
