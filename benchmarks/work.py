"""What one process of many computes, holds and sends in a step."""

from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from collectives import Collectives

aten = torch.ops.aten
# Factorisations and solves by a factor, which torch's own counter leaves out.
_DENSE = {
    aten.linalg_cholesky_ex: lambda a: a.shape[-1] ** 3 / 3,
    aten.cholesky_solve: lambda b, factor: 2 * b.shape[-1] * factor.shape[-1] ** 2,
    aten.linalg_solve_triangular: lambda factor, b: b.shape[-1] * factor.shape[-1] ** 2,
}


class Work(Collectives):
    """Collectives, and floating point operations of matrix products and factorisations, of this process alone.

    (torch's FlopCounterMode counts of a DTensor what all processes do together.)

    Attributes:
        operations: floating point operations.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0.0

    def seen(self, func: Any, args: Any, result: Any) -> None:
        super().seen(func, args, result)
        packet = func._overloadpacket
        if packet in flop_registry:
            self.operations += flop_registry[packet](*args, out_val=result)
        elif packet in _DENSE:
            self.operations += _DENSE[packet](*args[: 1 if packet is aten.linalg_cholesky_ex else 2])
