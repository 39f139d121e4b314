"""Estimators in a file of tensors, which runs no code when it is loaded, as a pickle would."""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as packed_bytes

from revgn.estimators.classifier import GaussNewtonClassifier
from revgn.estimators.network import Network
from revgn.estimators.regressor import GaussNewtonRegressor
from revgn.estimators.row_space import FittedNetwork
from revgn.estimators.scaling import Scaling

_ESTIMATORS = {kind.__name__: kind for kind in (GaussNewtonRegressor, GaussNewtonClassifier)}
_PARTS: dict[str, type] = {kind.__name__: kind for kind in (Network, FittedNetwork, Scaling)}
_HEADER = "estimator"


def save(estimator: GaussNewtonRegressor | GaussNewtonClassifier, path: Path | str) -> None:
    """Write a fitted estimator into a file of the safetensors format.

    Args:
        estimator: fitted; its constructor's arguments must be numbers, text, None or tuples of these.
        path: of the file, `.safetensors` by custom.

    Raises:
        TypeError: it holds something that has no form in such a file.
        OSError: the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    stored = {"class": type(estimator).__name__, "attributes": _packed(vars(estimator), arrays)}
    Path(path).write_bytes(packed_bytes(arrays, metadata={_HEADER: json.dumps(stored)}))


def load(path: Path | str) -> Any:
    """The estimator in a file that `save` has written.

    Raises:
        ValueError: the file holds something else, or is damaged.
        OSError: it cannot be read.
    """
    try:
        with safe_open(path, framework="np") as file:
            stored = json.loads(file.metadata()[_HEADER])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        estimator = _ESTIMATORS[stored["class"]]()
        for name, value in _unpacked(stored["attributes"], arrays.__getitem__).items():
            setattr(estimator, name, value)
        return estimator
    except (SafetensorError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no estimator that revgn.estimators.save has written ({error})") from error


def _packed(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The value as JSON has it, with numbers for the arrays that it holds."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return _packed(value.item(), arrays)
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OU":  # classes with names
            return {"words": [_packed(each, arrays) for each in value.tolist()], "dtype": value.dtype.kind}
        name = str(len(arrays))
        arrays[name] = np.ascontiguousarray(value)
        return {"array": name}
    if isinstance(value, dict):
        return {"dict": {str(key): _packed(each, arrays) for key, each in value.items()}}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(each, arrays) for each in value]}
    if is_dataclass(value) and type(value).__name__ in _PARTS:
        own = {each.name: _packed(getattr(value, each.name), arrays) for each in fields(value)}
        return {"part": type(value).__name__, "fields": own}
    raise TypeError(f"a {type(value).__name__} cannot be stored; expected numbers, text, arrays, or tuples of them")


def _unpacked(stored: Any, array: Callable[[str], np.ndarray]) -> Any:
    if not isinstance(stored, dict):
        return stored
    if "words" in stored:
        words = [_unpacked(each, array) for each in stored["words"]]
        return np.array(words, dtype=object if stored["dtype"] == "O" else None)
    if "array" in stored:
        return array(stored["array"])
    if "dict" in stored:
        return {name: _unpacked(each, array) for name, each in stored["dict"].items()}
    if "part" in stored:
        own = {name: _unpacked(each, array) for name, each in stored["fields"].items()}
        return _PARTS[stored["part"]](**own)
    (kind, members), *_ = stored.items()
    return {"list": list, "tuple": tuple}[kind](_unpacked(each, array) for each in members)
