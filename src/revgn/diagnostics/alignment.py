"""How much of the tangent kernel lies where the targets do."""

import torch
from torch import Tensor, nn

from revgn.diagnostics.tangent_kernel import ntk, outputs_shape
from revgn.linear import Inputs


def kernel_alignment(model: nn.Module, inputs: Inputs, targets: Tensor) -> float:
    """The cosine <k, Y Y^T>_F / (||k||_F ||Y Y^T||_F), from 0 to 1, of the tangent kernel with that of the targets.

    k (n, n) is the mean over outputs a of the blocks K[., a, ., a] of K = J J^T: rows are compared, outputs are not
    told apart. Neither kernel is centred: a kernel that takes all rows for alike has an alignment of 0.32 with ten
    classes of equal size, 1 / sqrt(10). NaN where a kernel is zero. The model is looked at in evaluation mode and left
    as it was. Cost: that of `ntk`, whose K is (n d_out, n d_out).

    Args:
        model: any module with outputs (n, d_out).
        inputs: (n, ...), as the model takes them.
        targets: Y, (n, c), one row for each of the inputs; classes as one-hot rows.

    Raises:
        ValueError: the targets are no matrix of n rows; the outputs are not (n, d_out), or nothing is trainable.

    Source: Cristianini et al., On Kernel-Target Alignment (2001); of tangent kernels Baratin et al. (2021).
    """
    rows = outputs_shape(model, inputs)[0]
    if targets.ndim != 2 or len(targets) != rows:
        raise ValueError(
            f"targets of shape {tuple(targets.shape)} for {rows} rows; expected (n, c), such as one-hot rows of classes"
        )
    kernel = ntk(model, inputs)
    d_out = len(kernel) // rows
    mean = torch.einsum("iaja->ij", kernel.view(rows, d_out, rows, d_out)) / d_out  # (n, n)
    y = targets.to(mean)
    of_targets = y @ y.mT
    norms = torch.linalg.matrix_norm(mean) * torch.linalg.matrix_norm(of_targets)
    return float((mean * of_targets).sum() / norms)
