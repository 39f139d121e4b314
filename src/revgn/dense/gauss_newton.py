"""The theoretical Gauss-Newton step, with the pseudo-inverse of the full Jacobian, for any module."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from revgn.dense.jacobian import jacobian
from revgn.losses import GaussNewtonLoss
from revgn.optim.base import DirectionOptimizer
from revgn.optim.report import Report
from revgn.solvers import SVD, Solver


class GaussNewton(DirectionOptimizer[nn.Module]):
    """theta <- theta - lr (J^T H J)^+ J^T grad, the generalised Gauss-Newton step of least norm; J^+ r for H = I.

    The oracle for `revgn.GaussNewton`, and a fine optimizer for small problems with any module. With n d_out smaller
    than the number of parameters the step is solved in row space, else in parameter space. Cost: O(N P min(N, P)) time
    and O(N P) memory for N = n d_out and P parameters; beyond some 1e8 entries of J use something else.

    Args:
        model: any module with outputs (n, d_out) that `torch.func` can differentiate.
        loss: from `revgn.losses`; its `hessian` is H.
        lr: 1 is the full Newton step.
        solver: of the weighted least-squares problem; None: `SVD()`, the most accurate. `Cholesky(damping=...)` makes
            it a Levenberg-Marquardt step of fixed damping.
        params: a part of the model's parameters, or parameter groups; None: all that are trainable.
        momentum, dampening, weight_decay, nesterov: as in `torch.optim.SGD`.

    Raises:
        TypeError: the loss knows no direction.
        ValueError: an option out of range.

    Source: Schraudolph (2002) for H; equation 5 of Buffelli et al. (2024) for J^+.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: GaussNewtonLoss,
        lr: float = 1.0,
        *,
        solver: Solver | None = None,
        params: Iterable[Any] | None = None,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.solver = SVD() if solver is None else solver
        super().__init__(
            model,
            loss,
            params=params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def _direction(self, inputs: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Report]:
        parameters = {name: p for name, p in self._named_parameters().items() if p.requires_grad}
        outputs, j = jacobian(self.model, inputs, parameters)
        point, loss = self._loss_at(inputs, outputs, targets)

        root = _square_root(self.loss.hessian(outputs, targets))  # (n, d_out, d_out)
        weighted = (root @ j.reshape(*outputs.shape, -1)).flatten(0, 1)  # (n d_out, P)
        target = (root @ point.direction.unsqueeze(-1)).reshape(-1, 1)  # (n d_out, 1)
        solution = self.solver(weighted, target)

        moved = (j @ solution.delta).reshape(outputs.shape)
        steps = solution.delta.flatten().split([p.numel() for p in parameters.values()])
        report = Report(
            loss=loss,
            outputs=outputs,
            defect=solution.defect,
            exact=solution.exact,
            predicted_loss=float(self.loss(outputs - float(self.param_groups[0]["lr"]) * moved, targets)),
            ranks=((solution.rank,),),
            defects=((solution.defect,),),
        )
        return {name: step.view_as(p) for (name, p), step in zip(parameters.items(), steps, strict=True)}, report


def _square_root(hessian: Tensor) -> Tensor:
    """The symmetric square root of each positive semi-definite matrix, (n, d_out, d_out)."""
    w, q = torch.linalg.eigh(hessian)  # ascending
    rounding = hessian.shape[-1] * torch.finfo(w.dtype).eps * w[..., -1:]
    return (q * torch.where(w > rounding, w, 0).sqrt().unsqueeze(-2)) @ q.mT
