"""The positive part of symmetric matrices H (n, d, d): PSD versions, pseudo-inverses and roots come from it."""

import torch
from torch import Tensor


def positive_spectrum(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (n, d), ascending, and eigenvectors (n, d, d), in columns.

    An eigenvalue is exactly zero where it is negative or at most d * eps times the largest magnitude of its matrix:
    such a one cannot be told from zero, and its inverse would be noise. Half precision becomes float32.
    """
    eps, tiny = torch.finfo(matrices.dtype).eps, torch.finfo(matrices.dtype).tiny
    wide = matrices.to(torch.promote_types(matrices.dtype, torch.float32))  # torch decomposes no half precision
    values, vectors = torch.linalg.eigh(wide)
    # The scale is the largest magnitude, not the largest positive one: beside -1, a value of 1e-17 is rounding.
    smallest = values.abs().amax(-1, keepdim=True) * (values.shape[-1] * eps)
    # Below `tiny` the inverse overflows.
    return torch.where(values > smallest.clamp_min(tiny), values, 0.0), vectors


def positive_part(matrices: Tensor) -> Tensor:
    """The nearest positive semi-definite matrices (n, d, d): negative eigenvalues set to zero."""
    values, vectors = positive_spectrum(matrices)
    return ((vectors * values.unsqueeze(-2)) @ vectors.mT).to(matrices.dtype)


def pseudo_solve(matrices: Tensor, vectors: Tensor) -> Tensor:
    """The products H^+ g (n, d) of matrices taken as positive semi-definite and vectors g (n, d)."""
    values, basis = positive_spectrum(matrices)
    inverse = torch.where(values > 0, values, torch.inf).reciprocal()
    wide = basis @ (inverse.unsqueeze(-1) * (basis.mT @ vectors.to(basis.dtype).unsqueeze(-1)))
    return wide.squeeze(-1).to(vectors.dtype)


def positive_root(matrices: Tensor) -> Tensor:
    """R (n, k, d) with R^T R = H, k >= 1 the largest numerical rank: directions in which every H is zero are left out.

    So R has full row rank where all H have the same rank.
    """
    values, vectors = positive_spectrum(matrices)
    # One zero row remains where every H is zero: a matrix without rows would break each solver that meets it.
    rank = max(1, int((values > 0).sum(-1).amax()))
    root = values.sqrt().unsqueeze(-1) * vectors.mT
    return root[:, -rank:].to(matrices.dtype)  # eigenvalues ascend
