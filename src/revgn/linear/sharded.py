"""Small tensors that meet sharded ones: plain tensors on the one side, DTensors of the same mesh on the other."""

import sys
from typing import Any

from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """The plain tensor that a DTensor stands for; any other tensor as it is."""
    return tensor.full_tensor() if _is_sharded(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def beside(tensor: Tensor, other: Tensor) -> Tensor:
    """The tensor as a replicated DTensor on the mesh of `other`, if that is a DTensor; else as it is."""
    if not _is_sharded(other) or _is_sharded(tensor):
        return tensor
    from torch.distributed.tensor import DTensor, Replicate

    mesh: Any = other.device_mesh  # pyright: ignore[reportAttributeAccessIssue]
    # Every rank holds the same small tensor: replicating it needs no communication.
    return DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)


def _is_sharded(tensor: Tensor) -> bool:
    if type(tensor) is Tensor:
        return False
    # A DTensor exists only where its module was imported: asking costs no import.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
