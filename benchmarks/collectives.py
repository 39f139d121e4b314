"""The collectives of torch.distributed inside a context, as torch dispatches them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# As torch.distributed calls them, and as DTensors do.
_OPERATIONS = {
    "allreduce_": "all_reduce",
    "all_reduce": "all_reduce",
    "allgather_": "all_gather",
    "alltoall_base_": "all_to_all",
}


@dataclass(frozen=True)
class Message:
    """One collective.

    Attributes:
        operation: "all_reduce", "all_gather" or "all_to_all".
        size: bytes of the tensor that is summed up, or of what a process gives: the same to all, or a part to each.
    """

    operation: str
    size: int


class Collectives(TorchDispatchMode):
    """Each collective: its operation, and the shape, dtype and bytes of what it was called with and what it brought.

    The first is summed up, or given; the others are what is gathered, or together what the others gave in an exchange.

    (torch's own CommDebugMode follows modules by hooks, and loses its place in forward passes within a step.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[tuple[tuple[int, ...], torch.dtype, int]]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(hasattr(kind, "full_tensor") for kind in types):
            return NotImplemented  # until the DTensor has said what is done of the parts
        result = func(*args, **(kwargs or {}))
        if not any(issubclass(kind, FakeTensor) for kind in types):  # by which a DTensor finds out shapes
            self.seen(func, args, result)
        return result

    def seen(self, func: Any, args: Any, result: Any) -> None:
        """Take note of an operation on plain tensors."""
        name = func._schema.name.rpartition("::")[2]
        if func.namespace in ("c10d", "_c10d_functional") and "wait" not in name and "_wrap" not in name:
            tensors = [leaf for leaf in tree_leaves(args[0]) if isinstance(leaf, Tensor)]
            if _OPERATIONS.get(name) == "all_to_all":
                found, given, _, lengths, *_ = args
                tensors = [given, found[lengths[dist.get_rank()] :]]
            self.calls.append((name, [(tuple(t.shape), t.dtype, t.nbytes) for t in tensors]))

    @property
    def messages(self) -> list[Message]:
        """All of them in order, those in which objects travel among them."""
        return [Message(_OPERATIONS[name], tensors[0][2]) for name, tensors in self.calls]

    @property
    def by_shape(self) -> Counter[tuple[str, tuple[int, ...]]]:
        """How often each operation was called with a tensor of each shape."""
        return Counter((name, tensors[0][0]) for name, tensors in self.calls)

    @property
    def received(self) -> dict[str, int]:
        """Bytes by operation: of what is gathered those of the others, of what is summed up the tensor; no objects."""
        found: Counter[str] = Counter()
        for name, tensors in self.calls:
            operation = _OPERATIONS[name]
            if operation == "all_reduce":
                found[operation] += sum(size for _, _, size in tensors)
            elif tensors[0][1] not in (torch.uint8, torch.int64):  # in which objects travel, with their lengths
                found[operation] += sum(size for _, _, size in tensors[1:])  # the first is this process's own
        return dict(found)
