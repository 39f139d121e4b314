"""Error bars from the linearised model: of parameters, and of predictions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revgn.linear import Inputs, Jacobian, Weighted, jacobian_of
from revgn.losses.checks import without_zero_weights
from revgn.optim import GaussNewton, Report


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """The covariance s^2 (A^T A + lambda I)^-1 of the parameters, by the thin SVD A = U diag(w)^(1/2) V^T.

    A is J with its rows weighed by the loss's curvature. Without a ridge (lambda = 0) parameters that the data do not
    determine have infinite variance, and predictions that depend on them too.

    Attributes:
        names, parameters: by which A's columns go.
        w: squared singular values, (m,).
        v: right singular vectors, (P, m).
        scale: norms of A's columns that were divided out before, (P,).
        ridge: lambda, of the penalty lambda / 2 ||theta||^2 on the sum of the rows' losses; 0 for none.
        noise: s, the estimated standard deviation of the weighed residuals.
        freedom: degrees of freedom: residuals less effective parameters.

    Source: docs/theory.md, "Steps of controlled length"; Seber and Wild, Nonlinear Regression (1989), section 2.1.
    """

    names: Mapping[str, nn.Parameter]
    w: Tensor
    v: Tensor
    scale: Tensor
    ridge: float
    noise: float
    freedom: float

    @property
    def effective_parameters(self) -> float:
        """Sum w / (w + lambda)."""
        return effective(self.w, self.ridge)

    def covariance(self) -> Tensor:
        """The covariance of all parameters, (P, P)."""
        kept = self._kept()
        half = self.v[:, kept] / (self.w[kept] + self.ridge).sqrt()
        inner = half @ half.mT
        if self.ridge:  # directions that the data do not see have the prior's variance
            inner = inner + (torch.eye(len(inner), dtype=inner.dtype) - self.v @ self.v.mT) / self.ridge
        covariance = self.noise**2 * inner / self.scale / self.scale.unsqueeze(1)
        if not self.ridge:
            lost = ~self._determined()
            covariance[lost, lost] = math.inf
        return covariance

    def standard_errors(self) -> dict[str, Tensor]:
        """The root of the covariance's diagonal, by parameter."""
        deviations = self.covariance().diagonal().clamp_min(0.0).sqrt()
        parts = deviations.split([p.numel() for p in self.names.values()])
        return {name: part.view_as(p) for (name, p), part in zip(self.names.items(), parts, strict=True)}

    def correlations(self) -> Tensor:
        """Correlations, (P, P)."""
        covariance = self.covariance()
        deviations = covariance.diagonal().sqrt()
        return covariance / deviations / deviations.unsqueeze(1)

    def deviations(self, model: nn.Module, inputs: Inputs, *, noise: bool) -> Tensor:
        """Standard deviations of the model's outputs at some rows, (m, d_out)."""
        jacobian = Jacobian(model, inputs, self.names.values())
        rows = jacobian.dense().double() / self.scale
        kept = self._kept()
        along = rows @ self.v[:, kept]
        variance = (along.square() / (self.w[kept] + self.ridge)).sum(1)
        beyond = (rows - along @ self.v[:, kept].mT).square().sum(1)  # a difference of squares would be rounding
        if self.ridge:
            variance = variance + beyond / self.ridge
        else:
            reached = beyond <= 1e-8 * rows.square().sum(1)
            variance = torch.where(reached, variance, math.inf)
        variance = self.noise**2 * (variance + float(noise))
        return variance.sqrt().view(jacobian.rows, jacobian.d_out).to(jacobian.dtype)

    def _kept(self) -> Tensor:
        eps = torch.finfo(self.w.dtype).eps
        return self.w > (max(self.v.shape) * eps) ** 2 * self.w.max()

    def _determined(self) -> Tensor:
        """Which parameters lie in the row space of A, (P,)."""
        return self.v[:, self._kept()].square().sum(1) > 1 - 1e-8


def uncertainty(
    optimizer: GaussNewton, inputs: Inputs, targets: Tensor | None, sample_weight: Tensor | None, report: Report | None
) -> Uncertainty:
    """The uncertainty of a fit at the parameters as they are.

    Raises:
        MemoryError: J does not fit.
    """
    ridge = 0.0 if report is None or report.ridge is None else report.ridge
    if targets is not None:  # rows that do not count are no data: the degrees of freedom leave them out
        own_weight = optimizer.loss.own_weight(targets)
        inputs, targets, sample_weight = without_zero_weights(inputs, targets, sample_weight, own_weight)
    function, inputs = optimizer.called(inputs)
    parameters = list(optimizer.trainable().values())
    jacobian = jacobian_of(function, inputs, parameters)
    outputs = jacobian.outputs.detach()
    targets = torch.zeros_like(outputs) if targets is None else targets
    weighted = Weighted(optimizer.loss.root(outputs, targets, sample_weight), jacobian)
    residual = weighted.weigh(optimizer.loss.direction(outputs, targets))
    dense = weighted.dense().double()
    scale = torch.ones(dense.shape[1], dtype=torch.float64)
    if not ridge:
        norms = torch.linalg.vector_norm(dense, dim=0)
        scale = torch.where(norms > 0, norms, 1.0)
    # A ridge is one of the parameters as they are: they keep their units.
    _, s, vh = torch.linalg.svd(dense / scale, full_matrices=False)
    names = {p: name for name, p in optimizer.model.named_parameters()}
    freedom = len(dense) - effective(s.square(), ridge)
    squares = float(residual.double().square().sum())
    noise = math.sqrt(squares / freedom) if freedom > 0.5 else math.nan
    ordered = {names[p]: p for p in jacobian.parameters}
    return Uncertainty(ordered, s.square(), vh.mT, scale, ridge, noise, freedom)


def effective(w: Tensor, ridge: float) -> float:
    """The sum of w / (w + lambda); without lambda the rank."""
    if ridge:
        return float((w / (w + ridge)).sum())
    eps = torch.finfo(w.dtype).eps
    return float((w > (len(w) * eps) ** 2 * w.max()).sum())
