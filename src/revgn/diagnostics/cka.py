"""How alike two representations of the same rows are, whatever their widths, rotations and scales."""

import math

import torch
from torch import Tensor

_LEAST_ROWS = {False: 2, True: 4}  # a spread needs two rows, its unbiased estimate four


@torch.no_grad()
def linear_cka(x: Tensor, y: Tensor, *, debiased: bool = False) -> float:
    """Centred kernel alignment <K, L> / (||K|| ||L||) of the centred Gram matrices K = x x^H and L = y y^H.

    1 for representations that are rotations of each other up to scale and shift; 0 for unrelated ones, if debiased.
    With fewer rows than features the plain value is near 1 whatever the representations: then use `debiased=True`,
    whose numerator and denominators are unbiased estimates, and which can be slightly negative. NaN where a
    representation is the same for all rows. Complex representations may be rotated by any unitary matrix: x^H is the
    conjugate transpose, and <K, L> is real. Cost: O(n^2 (p + q)) time, O(n^2) memory, in float64 or complex128.

    Args:
        x: (n, p), one representation of n rows, of any type of number; integers and booleans count as floats.
        y: (n, q), another one of the same rows.
        debiased: estimate without bias; needs at least four rows.

    Raises:
        ValueError: not two matrices with the same rows, or too few rows.

    Source: Kornblith et al. (2019), equation 3; unbiased HSIC of Song et al. (2012), used here by Nguyen et al. (2021),
    in the form of Szekely and Rizzo (2014).
    """
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(
            f"representations of shapes {tuple(x.shape)} and {tuple(y.shape)}; expected (n, p) and (n, q): flatten "
            "each row, and take both on the same rows"
        )
    if len(x) < _LEAST_ROWS[debiased]:
        kind = "debiased CKA" if debiased else "CKA"
        raise ValueError(f"{len(x)} rows; {kind} needs at least {_LEAST_ROWS[debiased]}: give more rows")
    gram_x, gram_y = _centred_gram(x, debiased=debiased), _centred_gram(y, debiased=debiased)
    norms = float(torch.linalg.vector_norm(gram_x) * torch.linalg.vector_norm(gram_y))
    # Both are Hermitian: their inner product is real but for rounding.
    return float((gram_x.conj() * gram_y).sum().real) / norms if norms else float("nan")


def _centred_gram(x: Tensor, *, debiased: bool) -> Tensor:
    """The Gram matrix of rows without their mean, (n, n); debiased: with a zero diagonal, and centred without it."""
    x = x.to(torch.complex128 if x.is_complex() else torch.float64)
    centred = x - x.mean(dim=0)
    if bool((x == x[:1]).all()):  # else rounding of the mean would be taken for a representation
        centred = torch.zeros_like(centred)
    gram = centred @ centred.mH
    if not debiased:
        return gram
    gram.fill_diagonal_(0)
    return torch.complex(_symmetric(gram.real), _antisymmetric(gram.imag)) if x.is_complex() else _symmetric(gram)


def _symmetric(gram: Tensor) -> Tensor:
    """Centred so that rows sum to zero without the diagonal: <K, L> / (n (n - 3)) is then HSIC's U-statistic."""
    n = len(gram)
    rows = gram.sum(dim=1) / (n - 2)
    return (gram - rows - rows.unsqueeze(1) + rows.sum() / (n - 1)).fill_diagonal_(0)


def _antisymmetric(gram: Tensor) -> Tensor:
    """The same for the imaginary part, scaled to the same divisor.

    Rows and columns have opposite sums, which changes the counts of the U-statistic: it is <K, L> / ((n - 1) (n - 2)).
    """
    n = len(gram)
    rows = gram.sum(dim=1) / n
    return (gram + rows - rows.unsqueeze(1)) * math.sqrt(n * (n - 3) / ((n - 1) * (n - 2)))
