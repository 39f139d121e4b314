"""What a constructor was given, checked when it is used, as scikit-learn has it."""

import math
from numbers import Integral, Real
from typing import Any


def require_count(name: str, value: Any, *, least: int = 1) -> None:
    """Raise ValueError unless the value is a whole number and not too small."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def require_damping(value: Any, rule: str) -> None:
    """Raise ValueError unless the value is a positive number, or the name of the rule by which the rows choose it."""
    known = isinstance(value, Real) and not isinstance(value, bool) and 0.0 < float(value) < math.inf
    if not known and not (isinstance(value, str) and value == rule):
        raise ValueError(f"damping must be {rule!r} or a positive number, got {value!r}")


def require_widths(value: Any) -> tuple[int, ...]:
    """The widths of the hidden layers, for a whole number or several.

    Raises:
        ValueError: there is none, or it is no whole number of at least 1.
    """
    widths: tuple[Any, ...] = (value,) if isinstance(value, Integral) else tuple(value)
    if not widths:
        raise ValueError(
            "hidden_layer_sizes is empty; expected the width of at least one hidden layer, such as (64, 64)"
        )
    for width in widths:
        require_count("hidden_layer_sizes", width)
    return tuple(int(width) for width in widths)
