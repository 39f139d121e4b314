"""Estimators in a file of tensors, which runs no code when it is loaded, as a pickle would."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as packed_bytes
from sklearn.utils.validation import check_is_fitted

from revgn.estimators.arrays import Array, put_together, take_apart
from revgn.estimators.classifier import GaussNewtonClassifier
from revgn.estimators.regressor import GaussNewtonRegressor

_ESTIMATORS = {kind.__name__: kind for kind in (GaussNewtonRegressor, GaussNewtonClassifier)}
_HEADER, _CHECKSUM = "estimator", "sha256"


def save(estimator: GaussNewtonRegressor | GaussNewtonClassifier, path: Path | str | BinaryIO) -> None:
    """Write a fitted estimator into a file of the safetensors format.

    Args:
        estimator: fitted; its constructor's arguments must be numbers, text, None or tuples of these.
        path: of the file, `.safetensors` by custom, or the file itself, opened for binary writing.

    Raises:
        TypeError: it holds something that has no form in such a file.
        OSError: the file cannot be written.
    """
    check_is_fitted(estimator)
    arrays: dict[str, Array] = {}
    attributes = {name: take_apart(value, name, arrays) for name, value in vars(estimator).items()}
    stored: dict[str, Any] = {"class": type(estimator).__name__, "attributes": attributes}
    stored[_CHECKSUM] = _checksum(stored, arrays)
    # Under one name: several would be written in a random order, and the same estimator as different files.
    content = packed_bytes(arrays, metadata={_HEADER: json.dumps(stored)})
    if isinstance(path, (Path, str)):
        Path(path).write_bytes(content)
    else:
        path.write(content)


def load(path: Path | str) -> Any:
    """The estimator in a file that `save` has written.

    Raises:
        ValueError: the file holds something else, or is damaged: not a bit may differ from what was written.
        OSError: it cannot be read.
    """
    try:
        with safe_open(path, framework="np") as file:
            stored = json.loads(file.metadata()[_HEADER])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checksum = stored.pop(_CHECKSUM, None)  # files of revgn 0.1 have none
        if checksum is not None and checksum != _checksum(stored, arrays):
            raise ValueError(f"{path} is damaged: its content does not fit its checksum; put a copy back")
        estimator = _ESTIMATORS[stored["class"]]()
        for name, held in stored["attributes"].items():
            setattr(estimator, name, put_together(held, arrays))
        return estimator
    except (SafetensorError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no estimator that revgn.estimators.save has written ({error})") from error


def _checksum(stored: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """SHA-256, in hexadecimal, of all that makes the estimator."""
    found = hashlib.sha256(json.dumps(stored).encode())
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
