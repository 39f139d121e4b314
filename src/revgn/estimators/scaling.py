"""Columns of mean zero and variance one, whatever their units."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Scaling:
    """(x - center) / scale by columns, and back.

    Attributes:
        center, scale: of the columns, (d,); the scale of a constant column is one, so that it becomes zero.
    """

    center: Array
    scale: Array

    @classmethod
    def of(cls, x: Array, weight: Array) -> "Scaling":
        """The scaling of a table (n, d) whose rows count as the weights say, (n,)."""
        # Squares of entries beyond 1e154 overflow, those below 1e-154 vanish: measured in units of the largest entry.
        unit = np.abs(x).max(0)
        unit[unit == 0] = 1.0
        small = x / unit
        share = weight / weight.sum()
        mean = share @ small
        deviation = np.sqrt(share @ np.square(small - mean))
        # What rounding leaves of a constant column.
        constant = deviation <= 10 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean * unit, np.where(constant, 1.0, deviation * unit))

    def apply(self, x: Array) -> Array:
        """The scaled table, (m, d)."""
        return (x - self.center) / self.scale

    def undo(self, scaled: Array) -> Array:
        """The table in its own units, (m, d)."""
        return self.center + self.scale * scaled
