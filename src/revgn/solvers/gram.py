"""From an inverse of the smaller Gram matrix to a solution: in row space or in parameter space."""

from collections.abc import Callable

import torch
from torch import Tensor

from revgn.linear import LinearMap, Vector

# How far the Gram matrix may be from the products that it stands for, relative: half of what iterations stop at.
_SOUND = {torch.float32: 2.5e-4, torch.float64: 5e-13}


def through_gram(inverse: Callable[[Tensor], Tensor], map: LinearMap, target: Tensor) -> tuple[Vector, Tensor]:
    """The vector x = A^T (A A^T)^-1 u of a wide map, (A^T A)^-1 A^T u of a tall one, and what the inverse gave.

    Args:
        inverse: applies the inverse of the Gram matrix to a float64 matrix of as many rows.
        map: A.
        target: u, (n, k).
    """
    if map.wide:
        dual = inverse(target.double())
        return map.adjoint(dual.to(target.dtype)), dual
    stacked = inverse(map.stack(map.adjoint(target)).double())
    return map.split(stacked.to(target.dtype)), stacked


def image_by_gram(map: LinearMap, x: Vector, lower: Tensor, dual: Tensor) -> Tensor | None:
    """A x as the Gram matrix times the dual solution, for x = A^T a; None where A x itself is to be made.

    For maps whose products are dear: the map says so by naming some rows of A x, and on these the two are compared.
    Of A A^T the lower triangle is read.
    """
    spot = map.spot(x)
    if spot is None:
        return None
    rows, there = spot
    image = symmetric_product(lower, dual).to(there.dtype)
    off = torch.linalg.vector_norm(image[rows] - there, dtype=torch.float64)
    return image if bool(off <= _SOUND[there.dtype] * torch.linalg.vector_norm(there, dtype=torch.float64)) else None


def symmetric_product(lower: Tensor, right: Tensor) -> Tensor:
    """K R for a symmetric K of which the lower triangle is held, (n, n), and R (n, k): by tiles, each read once."""
    product = torch.zeros_like(right)
    for start in range(0, len(lower), 1024):
        here = slice(start, start + 1024)
        below = lower[here, :start]
        diagonal = torch.tril(lower[here, here])
        product[here] += below @ right[:start] + diagonal @ right[here] + torch.tril(diagonal, -1).mT @ right[here]
        product[:start] += below.mT @ right[here]
    return product
