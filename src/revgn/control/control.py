"""What a control is given to judge, and what it decides."""

import abc
import math
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

Memory = MutableMapping[str, Any]
"""What a control remembers from step to step, plain numbers; the optimizer keeps, saves and restores it."""


@dataclass(frozen=True)
class Attempt:
    """A step that was taken on trial.

    Attributes:
        length: the multiple of the optimizer's own step, learning rate and momentum included.
        damping: lambda relative to the mean diagonal of the Gram matrix; None: the solver's own.
        before, loss: the loss where the step began, and where it led; not finite where that is so.
        predicted_loss: where it led if the outputs moved as J says, at the length really taken.
        shrinks: whether the step is one of ridge regression, see `Ridge`.
        squared_norm: ||theta||^2 where a step that shrinks led, over the parameters that move; NaN for others.
    """

    length: float
    damping: float | None
    before: float
    loss: float
    predicted_loss: float
    shrinks: bool = False
    squared_norm: float = math.nan

    @property
    def finite(self) -> bool:
        """Whether the loss is a finite number."""
        return math.isfinite(self.loss)

    @property
    def gain_ratio(self) -> float:
        """Actual by predicted decrease of the loss; -inf where none was predicted, or the loss is not finite."""
        promised = self.before - self.predicted_loss
        return (self.before - self.loss) / promised if promised > 0 and self.finite else -math.inf


class Trial(Protocol):
    """A step that can be tried, at any length and damping, from the same place each time."""

    @property
    def loss(self) -> float:
        """The loss where the step begins."""
        ...

    @property
    def rows(self) -> int:
        """The rows of the batch, n."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of J: outputs of all rows, and parameters."""
        ...

    @property
    def smallest(self) -> float:
        """The dtype's epsilon: the least damping that changes anything."""
        ...

    def attempt(self, length: float = 1.0, damping: float | None = None, *, shrink: bool = False) -> Attempt:
        """Take the step; the one taken before is taken back first."""
        ...

    def slope(self) -> float:
        """The derivative of the loss along the step taken last, where it begins, times the step's length."""
        ...

    def predicted_loss(self, factor: float) -> float:
        """The loss after that many times the step taken last, if the outputs move as J says."""
        ...

    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues w (N,) of K = J J^T, and the squares of r - J theta in its eigenvectors, (N,)."""
        ...

    def squared_norm(self) -> float:
        """||theta||^2 where the step begins, over the parameters that move."""
        ...


class Control(abc.ABC):
    """Base class of the controls: small frozen objects that try a step and decide what becomes of it.

    A subclass implements `decide`. One that asks for steps of several dampings says so by `damps = True`.
    """

    damps: ClassVar[bool] = False

    @abc.abstractmethod
    def decide(self, trial: Trial, memory: Memory) -> Attempt | None:
        """The attempt that is to stand; None to take the step back, parameters, buffers and optimizer state to the bit.

        Args:
            trial: what may be tried.
            memory: what this control wants to find again at the next step.
        """


def require(name: str, value: float, *, above: float = 0.0, below: float = math.inf) -> None:
    """Raise ValueError unless the option lies strictly between the bounds."""
    if not above < value < below:
        raise ValueError(f"{name} must lie above {above:g} and below {below:g}, got {value}")
