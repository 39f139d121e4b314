"""What a loss provides to be trained by Gauss-Newton: value, gradient and curvature of every row."""

import torch
from torch import Tensor, nn

from revgn.losses.checks import require_rows, require_sample_weight
from revgn.losses.derivatives import row_gradients, row_hessians
from revgn.losses.spectrum import positive_part, positive_root, pseudo_solve
from revgn.losses.weights import relative, weighed


class GaussNewtonLoss(nn.Module):
    """Base class of the losses: a mean over rows of values that each depend on the outputs of one row.

    A loss of your own needs `value` alone; the rest then comes from automatic differentiation. Closed forms of
    `gradient`, `curvature` and `direction` are faster, and stay accurate where those derivatives cancel or overflow.

        class LogCosh(GaussNewtonLoss):
            def value(self, outputs, targets):
                error = (outputs - targets).abs()
                return (error + torch.nn.functional.softplus(-2 * error) - math.log(2)).sum(-1)

    The methods `value`, `gradient`, `curvature`, `direction` and `root` work row by row and check nothing, for they
    are called many times a step. `check`, which `forward` calls, checks everything once.

    Shapes: outputs are (n, d_out) of a floating dtype; targets are whatever the loss takes, n along their first axis.
    """

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        """Refuse targets that the loss does not take. By default it takes any that have n rows.

        A subclass raises a ValueError or TypeError that says what came, what was expected and what to do.
        """

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of every row, (n,). Every subclass implements it, by torch operations that can be differentiated.

        Raises:
            NotImplementedError: the subclass does not implement it.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement value(outputs, targets) -> (n,)")

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The gradient of every row's value by its outputs, (n, d_out). By default from `value` by autograd."""
        return row_gradients(self.value, outputs, targets)

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """H of every row, (n, d_out, d_out), symmetric positive semi-definite; None stands for the identity.

        By default H is the Hessian of `value` by autograd, its negative eigenvalues set to zero: Gauss-Newton
        minimises a quadratic model with curvature J^T H J, which has a minimum only if H is positive semi-definite.
        Damping that the loss adds to its curvature is part of H.
        """
        return positive_part(row_hessians(self.value, outputs, targets))

    def direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The direction r = H^+ grad of every row, (n, d_out): outputs F - r are a full Newton step away.

        By default r comes from `gradient` and an eigendecomposition of `curvature`: eigenvalues at most d_out * eps
        times the largest of their row count as zero, and r is zero along their eigenvectors. Where the curvature is
        the identity, r is the gradient.
        """
        gradient, curvature = self.gradient(outputs, targets), self.curvature(outputs, targets)
        return gradient if curvature is None else pseudo_solve(curvature, gradient)

    def root(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor | None:
        """R with R^T R = w_i H_i in every row, (n, k, d_out); None if that is the identity in all rows.

        The weights w_i count relative to their mean, so their scale does not matter. By default k is the largest
        numerical rank of the rows' matrices, and 1 at least: directions in which all of them are zero are left out.
        """
        curvature = self.curvature(outputs, targets)
        if curvature is None:
            if sample_weight is None:
                return None
            identity = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
            return weighed(identity.expand(len(outputs), -1, -1), sample_weight)
        if sample_weight is not None:
            # Weighed before the root is taken: the rank of a row without weight does not count.
            curvature = relative(sample_weight).view(-1, 1, 1) * curvature
        return positive_root(curvature)

    def forward(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The checked loss, a scalar: sum_i w_i value_i / sum_i w_i, the mean over the rows without weights.

        Args:
            outputs: (n, d_out).
            targets: as the loss takes them.
            sample_weight: w, (n,), of the outputs' dtype. The default None weighs all rows alike.

        Raises:
            ValueError, TypeError: as `check` and `mean`.
        """
        self.check(outputs, targets, sample_weight)
        return self.mean(outputs, targets, sample_weight)

    def check(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> None:
        """Refuse what the loss cannot be computed from.

        Raises:
            ValueError, TypeError: outputs, targets or sample_weight have the wrong shape, dtype, device or values.
        """
        require_rows(outputs, targets)
        if sample_weight is not None:
            require_sample_weight(outputs, sample_weight)
        self.check_targets(outputs, targets)

    def mean(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The scalar sum_i w_i value_i / sum_i w_i, for arguments that `check` has seen.

        Raises:
            ValueError: `value` gave another shape than (n,).
        """
        value = self.value(outputs, targets)
        if value.shape != outputs.shape[:1]:
            # A scalar, which torch's own losses give by default, would pass unnoticed and ignore the weights.
            raise ValueError(
                f"{type(self).__name__}.value gave shape {tuple(value.shape)}; expected one value a row, "
                f"({len(outputs)},): sum over the outputs, and leave the mean over rows to this class"
            )
        return value.mean() if sample_weight is None else (relative(sample_weight) * value).mean()
