"""What is computed once of a tensor that seldom changes, and kept as long as the tensor is."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

T = TypeVar("T")


class Kept(Generic[T]):
    """A function of a tensor whose value is kept, until the tensor changes in place or moves to another device.

    Changes are those that torch counts: what is written through `.data` is not seen.

    Args:
        function: what to keep the values of.
    """

    def __init__(self, function: Callable[[Tensor], T]) -> None:
        self._function = function
        self._values: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def __call__(self, tensor: Tensor) -> T:
        if tensor.is_inference():  # then changes in place are not counted
            return self._function(tensor)
        now = tensor._version, tensor.device
        if tensor not in self._values or self._values[tensor][0] != now:
            # What inference mode makes could not be used outside of it, and a graph would be kept with the value.
            with torch.inference_mode(False), torch.no_grad():
                self._values[tensor] = now, self._function(tensor)
        return self._values[tensor][1]
