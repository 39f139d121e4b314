"""What an estimator has learnt as named arrays and plain values, and back: for files that hold no code."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revgn.estimators.perceptron import Network
from revgn.estimators.row_space import FittedNetwork
from revgn.estimators.scaling import Scaling

Array = NDArray[Any]
KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in (Network, FittedNetwork, Scaling)}


def take_apart(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """The value as what JSON can hold, its arrays of numbers put into `arrays` by names that begin with `name`.

    Raises:
        TypeError: the value holds something that has no such form.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return {"scalar": take_apart(value.item(), name, arrays), "dtype": value.dtype.str}
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf":
            arrays[name] = np.ascontiguousarray(value)
            return {"array": name}
        dtype = "O" if value.dtype.kind == "O" else value.dtype.str
        return {"list": take_apart(value.tolist(), name, arrays), "dtype": dtype}
    if isinstance(value, list | tuple):
        held = [take_apart(each, f"{name}.{index}", arrays) for index, each in enumerate(value)]
        return {"tuple": held} if isinstance(value, tuple) else held
    if is_dataclass(value) and type(value).__name__ in KINDS:
        parts = {f.name: take_apart(getattr(value, f.name), f"{name}.{f.name}", arrays) for f in fields(value)}
        return {"kind": type(value).__name__, "parts": parts}
    raise TypeError(f"{name} is a {type(value).__name__}, which no file of arrays and plain values can hold")


def put_together(held: Any, arrays: Mapping[str, Array]) -> Any:
    """The inverse of `take_apart`."""
    if isinstance(held, list):
        return [put_together(each, arrays) for each in held]
    if not isinstance(held, dict):
        return held
    if "tuple" in held:
        return tuple(put_together(held["tuple"], arrays))
    if "array" in held:
        return arrays[held["array"]]
    if "scalar" in held:
        return np.dtype(held["dtype"]).type(held["scalar"])
    if "list" in held:
        return np.array(put_together(held["list"], arrays), dtype=held["dtype"])
    return KINDS[held["kind"]](**{name: put_together(part, arrays) for name, part in held["parts"].items()})
