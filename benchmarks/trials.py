"""Training runs against the clock: one method with one setting, its loss by seconds, to be gone on with at will."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import measure

Record = Callable[[float, float], None]
"""Takes the time at which parameters were there, by `time.perf_counter`, and their loss."""
TrainingStep = Callable[[Record], None]
"""One step of training, which records the loss of every forward pass it makes with the time at which that began."""

HALF_DECADE = 10**0.5


@dataclass
class Trial:
    """One training run. Its clock stands still while it is not gone on with.

    Attributes:
        setting: what it was started with, a learning rate, say.
        curve: seconds of training and the loss reached by then, in order.
        steps: taken so far.
        failed: whether the loss became infinite or the method gave up.
    """

    setting: float
    step: TrainingStep
    curve: list[tuple[float, float]] = field(default_factory=list)
    steps: int = 0
    failed: bool = False
    seconds: float = 0.0

    @property
    def loss(self) -> float:
        """The last loss; infinite if the trial has failed."""
        return math.inf if self.failed or not self.curve else self.curve[-1][1]

    def go_on(self, until: float, target: float, at_least: int = 0) -> None:
        """Train until the clock shows `until` seconds and so many losses are known, or one of them is at the target."""
        before, start = self.seconds, time.perf_counter()

        def record(began: float, loss: float) -> None:
            self.failed = not math.isfinite(loss)  # a line search may come back from there
            if not self.failed:
                self.curve.append((before + began - start, loss))

        while not self.failed and self.time_to(target) is None and (self.seconds < until or len(self.curve) < at_least):
            try:
                self.step(record)
            except FloatingPointError:
                self.failed = True
            measure.synchronize()
            self.steps += 1
            self.seconds = before + time.perf_counter() - start

    def time_to(self, target: float) -> float | None:
        """Seconds of training until the parameters had a loss of no more than the target; None if they never had."""
        return next((seconds for seconds, loss in self.curve if loss <= target), None)


@dataclass(frozen=True)
class Patience:
    """How long trials last, in seconds of their own clocks: all of a grid, then its best two, then the best."""

    screening: float
    second: float
    last: float
    least_passes: int = 10


def best_of(grid: Sequence[float], start: Callable[[float], Trial], target: float, patience: Patience) -> list[Trial]:
    """All trials of a grid that is widened until its best lies inside; the best, trained to the end, comes first.

    Widened by half a decade at a time, no more than three times on either side.
    """
    trials = {value: start(value) for value in grid}
    for trial in trials.values():
        trial.go_on(patience.screening, target, patience.least_passes)
    for _ in range(3):
        value = wider(trials)
        if value is None:
            break
        trials[value] = start(value)
        trials[value].go_on(patience.screening, target, patience.least_passes)

    def ranked() -> list[Trial]:
        return sorted(trials.values(), key=lambda trial: rank(trial, target))

    for trial in ranked()[:2]:
        trial.go_on(patience.second, target)
    for trial in ranked():
        trial.go_on(patience.last, target)
        if not trial.failed:
            break
    return ranked()


def rank(trial: Trial, target: float) -> tuple[float, float]:
    """Who reached the target first, then who has the smallest loss."""
    reached = trial.time_to(target)
    return (math.inf if reached is None else reached), trial.loss


def wider(trials: dict[float, Trial]) -> float | None:
    """A setting beyond the edge of the grid, if the best so far lies on it; one that failed is edge enough."""
    values = sorted(trials)
    best = min(values, key=lambda value: (trials[value].loss, value))
    if math.isinf(trials[best].loss):
        return values[0] / HALF_DECADE
    if best == values[-1]:
        return best * HALF_DECADE
    return best / HALF_DECADE if best == values[0] else None


def best_so_far(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The curve with every loss replaced by the smallest until then."""
    losses = itertools.accumulate((loss for _, loss in curve), min)
    return [(seconds, loss) for (seconds, _), loss in zip(curve, losses, strict=True)]


def thinned(curve: Sequence[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    """No more than some `most` points of a curve, its end among them."""
    every = max(1, math.ceil(len(curve) / most))
    return [*itertools.islice(curve, 0, None, every), *([curve[-1]] if (len(curve) - 1) % every else [])]
