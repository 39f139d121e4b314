"""A map with its columns brought to unit length, so that damping does not depend on the units of parameters."""

import torch
from torch import Tensor

from revgn.linear.map import LinearMap, SameDomain, Vector
from revgn.linear.weighted import Weighted

# What D may be of a column's norm: damping of epsilon, the least there is, then damps by 1e8 epsilon in that column.
LARGEST = 1e4


class ScaledColumns(SameDomain):
    """A D^-1, D the norms of A's columns, for a map that is held densely: few parameters.

    Args:
        map: A.
        earlier: D of the step before, (columns,), below which D falls only where it is more than 10,000 times a
            column's norm: a parameter that has ceased to move the outputs would else run away. None: this is the first.

    Source: Marquardt (1963); the largest norm of all steps as in Moré (1978), who keeps it however large: a parameter
    whose column shrinks by many orders of magnitude, as where NIST's MGH10 begins, is then held fast by any damping.
    """

    def __init__(self, map: Weighted, earlier: Tensor | None = None) -> None:
        super().__init__(map)
        dense = map.dense()
        norms = torch.linalg.vector_norm(dense, dim=0)
        self.norms = norms
        if earlier is not None:
            self.norms = torch.maximum(norms, torch.minimum(earlier.to(norms), LARGEST * norms))
        self.scale = torch.where(self.norms > 0, self.norms, 1.0)  # a parameter that moves nothing stays where it is
        self._dense = dense / self.scale

    def unscaled(self, x: Vector) -> Vector:
        """D^-1 x: the change of the parameters that a vector of this map stands for."""
        return self.split(self.stack(x) / self.scale.unsqueeze(1))

    def apply(self, x: Vector) -> Tensor:
        return self._dense @ self.stack(x)

    def adjoint(self, u: Tensor) -> Vector:
        return self.split(self._dense.mT @ u)

    def gram(self, dtype: torch.dtype = torch.float64) -> Tensor:
        wide = self._dense.double()
        return (wide @ wide.mT).to(dtype)

    def dense(self) -> Tensor:
        return self._dense

    def typical_entry(self) -> float:
        return 1.0  # the columns have unit length

    def largest_entry(self) -> float:
        return float(self._dense.abs().max())

    def scaled(self, factor: float) -> LinearMap:
        return self  # entries near one are what is asked for
