"""What a loss provides to be trained by Gauss-Newton: value, gradient and curvature of every row."""

import torch
from torch import Tensor, nn

from revgn.losses.checks import require_row_that_counts, require_rows, require_sample_weight
from revgn.losses.spectrum import positive_part, positive_root, pseudo_solve


class GaussNewtonLoss(nn.Module):
    """Base class of the losses: a mean over rows of values that each depend on the outputs of one row.

    A loss of your own needs `value` alone; the rest then comes from automatic differentiation. Closed forms of
    `gradient`, `curvature` and `direction` are faster, and stay accurate where those derivatives cancel or overflow.

        class LogCosh(GaussNewtonLoss):
            def value(self, outputs, targets):
                error = (outputs - targets).abs()
                return (error + torch.nn.functional.softplus(-2 * error) - math.log(2)).sum(-1)

    Only `forward` and `check` look at their arguments: the other methods are called many times a step.

    Shapes: outputs are (n, d_out) of a floating dtype; targets are whatever the loss takes, n along their first axis.
    """

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise ValueError or TypeError for targets that the loss does not take; by default it takes any n rows."""

    def own_weight(self, targets: Tensor) -> Tensor | None:
        """What each row counts by the loss itself, (n,), none negative, as class weights do; None: all alike.

        It multiplies `sample_weight`; rows of weight 0 are left out of a step. Targets may not be checked yet.
        """
        return None

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of every row, (n,), by torch operations that can be differentiated. Every subclass implements it."""
        raise NotImplementedError(f"{type(self).__name__} must implement value(outputs, targets) -> (n,)")

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The gradient of every row's value by its outputs, (n, d_out). By default from `value` by autograd."""
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            return torch.autograd.grad(self.value(leaf, targets).sum(), leaf)[0]

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """H of every row, (n, d_out, d_out), symmetric positive semi-definite; None stands for the identity.

        By default H is the Hessian of `value` by autograd, its negative eigenvalues set to zero: Gauss-Newton
        minimises a quadratic model with curvature J^T H J, which has a minimum only if H is positive semi-definite.
        Damping that the loss adds to its curvature is part of H.
        """
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.value(leaf, targets).sum(), leaf, create_graph=True)
            if not gradient.requires_grad:  # a value that is linear in the outputs
                gradient = 0 * leaf
            # Rows do not depend on each other: the derivative of a sum over rows holds that of each.
            columns = [
                torch.autograd.grad(column, leaf, retain_graph=True, materialize_grads=True)[0]
                for column in gradient.sum(0).unbind()
            ]
        hessian = torch.stack(columns, -1)
        return positive_part(0.5 * (hessian + hessian.mT))

    def direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The direction r = H^+ grad of every row, (n, d_out): outputs F - r are a full Newton step away.

        By default from `gradient` and an eigendecomposition of `curvature`: r is zero along eigenvectors whose
        eigenvalues are at most d_out * eps times the largest of their row.
        """
        gradient, curvature = self.gradient(outputs, targets), self.curvature(outputs, targets)
        return gradient if curvature is None else pseudo_solve(curvature, gradient)

    def root(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor | None:
        """R with R^T R = w_i H_i in every row, (n, k, d_out); None if that is the identity in all rows.

        The weights w_i, those of `row_weight`, count relative to their mean, so their scale does not matter. By
        default k is the largest numerical rank of the rows' matrices, and 1 at least: directions in which all of them
        are zero are left out.
        """
        curvature, weights = self.curvature(outputs, targets), self.row_weight(outputs, targets, sample_weight)
        if curvature is None:
            return None if weights is None else weighed(identities(outputs), weights)
        if weights is not None:
            # Weighed before the root is taken: the rank of a row without weight does not count.
            curvature = relative(weights).view(-1, 1, 1) * curvature
        return positive_root(curvature)

    def forward(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The checked loss, a scalar: sum_i w_i value_i / sum_i w_i, the mean over the rows without weights.

        The w are those of `row_weight`: `sample_weight` times what the loss itself says that rows count.

        Args:
            outputs: (n, d_out).
            targets: as the loss takes them.
            sample_weight: (n,), of the outputs' dtype. The default None weighs all rows alike.

        Raises:
            ValueError, TypeError: as `check` and `mean`.
        """
        self.check(outputs, targets, sample_weight)
        return self.mean(outputs, targets, sample_weight)

    def check(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> None:
        """Raise ValueError or TypeError where shapes, dtypes, devices or values are not those the loss takes."""
        require_rows(outputs, targets)
        if sample_weight is not None:
            require_sample_weight(outputs, sample_weight)
        self.check_targets(outputs, targets)
        if self.own_weight(targets) is not None:
            require_row_that_counts(self.row_weight(outputs, targets, sample_weight))

    def row_weight(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None) -> Tensor | None:
        """What each row counts, (n,) of the outputs' dtype: `own_weight` times `sample_weight`; None: all alike."""
        own = self.own_weight(targets)
        if own is None:
            return sample_weight
        return own.to(outputs.dtype) if sample_weight is None else own.to(outputs.dtype) * sample_weight

    def mean(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss as `forward` gives it, of arguments that `check` has seen.

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
        weights = self.row_weight(outputs, targets, sample_weight)
        return value.mean() if weights is None else (relative(weights) * value).mean()


def relative(sample_weight: Tensor) -> Tensor:
    """The weights w_i over their mean, (n,): of mean one, whatever the scale that they were given on."""
    # Over the largest first: the sum of weights near the dtype's largest number, or smallest, would overflow or vanish.
    scaled = sample_weight / sample_weight.amax()
    return scaled / scaled.mean()


def weighed(root: Tensor, sample_weight: Tensor | None) -> Tensor:
    """The root sqrt(w_i) R_i of every row's w_i H_i, (n, k, d_out), w_i relative to the mean; R itself for None."""
    return root if sample_weight is None else relative(sample_weight).sqrt().view(-1, 1, 1) * root


def identities(outputs: Tensor) -> Tensor:
    """The identity in every row, (n, d_out, d_out), in memory once."""
    return torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device).expand(len(outputs), -1, -1)
