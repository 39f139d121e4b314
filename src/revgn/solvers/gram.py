"""From an inverse of the smaller Gram matrix to a solution: in row space or in parameter space."""

from collections.abc import Callable

from torch import Tensor

from revgn.linear import LinearMap, Vector


def through_gram(inverse: Callable[[Tensor], Tensor], map: LinearMap, target: Tensor) -> Vector:
    """The vector A^T (A A^T)^-1 u of a wide map, (A^T A)^-1 A^T u of a tall one.

    Args:
        inverse: applies the inverse of the Gram matrix to a float64 matrix of as many rows.
        map: A.
        target: u, (n, k).
    """
    if map.wide:
        return map.adjoint(inverse(target.double()).to(target.dtype))
    right = map.stack(map.adjoint(target))
    return map.split(inverse(right.double()).to(target.dtype))
