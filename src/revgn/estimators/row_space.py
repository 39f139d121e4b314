"""One network, fitted by damped Gauss-Newton steps in row space, the damping chosen by its rows at every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from revgn.control.ridge import SLOWEST, STRENGTHS, gcv
from revgn.estimators.perceptron import Network
from revgn.fitting.endings import LEAST_FALL, SCORE_PATIENCE
from revgn.linear import Jacobian

Array = NDArray[Any]
# Halvings of a step before the fit is over: as in `revgn.control.Ridge`.
HALVINGS = 12


@dataclass(frozen=True, eq=False)
class Rows:
    """What a network is fitted to, float64.

    Attributes:
        inputs, targets: (n, d) and (n, 1).
        weight: how often each row counts, (n, 1).
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor

    @classmethod
    def of(cls, inputs: Array, targets: Array, weight: Array) -> "Rows":
        """The rows of inputs (n, d), targets (n,) and weights (n,)."""
        # Copies: rows may come from another process as memory that must not be written to.
        return cls(torch.tensor(inputs), torch.tensor(targets).unsqueeze(1), torch.tensor(weight).unsqueeze(1))

    @property
    def count(self) -> float:
        """N: rows, each as often as it counts."""
        return float(self.weight.sum())

    def squares(self, outputs: Tensor) -> Tensor:
        """The weighted sum of squares of what the outputs (n, 1) leave of the targets."""
        return (self.weight * (self.targets - outputs).square()).sum()

    def loss(self, outputs: Tensor) -> float:
        """Half the weighted mean of those squares."""
        return 0.5 * float(self.squares(outputs)) / self.count


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A network at the end of its fit.

    Attributes:
        network: as fitted.
        strength: the ridge's lambda.
        effective_parameters: the sum of w / (w + lambda) over the eigenvalues w of the kernel.
        noise: s^2, the sum of squares by the degrees of freedom that the fit has left.
        loss_curve: half the mean square of the residuals after each step.
        held_out: what the network would give at each row that it was fitted to without that row, (n,).
        leverage: by how much each row draws its own output, (n,).
        converged: whether the fit came to an end before the most steps.
    """

    network: Network
    strength: float
    effective_parameters: float
    noise: float
    loss_curve: Sequence[float]
    held_out: Array
    leverage: Array
    converged: bool


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The weighted tangent kernel R K R = Q diag(w) Q^T, and what the step is to fit.

    Attributes:
        w, q: ascending (n,), and (n, n).
        root: R's diagonal, the square roots of the weights, (n, 1).
        coefficients: Q^T R (y - f + J theta), (n, 1).
        count: N.
    """

    w: Tensor
    q: Tensor
    root: Tensor
    coefficients: Tensor
    count: float

    @classmethod
    def at(cls, jacobian: Jacobian, rows: Rows) -> "Spectrum":
        """The one eigendecomposition of a step: every lambda then costs n."""
        root = rows.weight.sqrt()
        jacobian.blocks  # noqa: B018  # one pass gives the layers and the outputs
        w, q = torch.linalg.eigh(jacobian.lower_gram() * root * root.mT)  # reads the lower triangle alone
        theta = {p: p.detach() for p in jacobian.parameters}
        target = rows.targets - jacobian.outputs + jacobian.apply(theta)
        return cls(w.clamp_min(0.0), q, root, q.mT @ (root * target), rows.count)

    def best_strength(self) -> float:
        """The lambda of the least GCV(lambda) = N rss / (N - 1.2 effective)^2, see `revgn.control.Ridge`."""
        strengths = STRENGTHS * self.w.max()
        left = strengths / (self.w.unsqueeze(1) + strengths)  # (n, strengths): the share that is not fitted
        # Counted by the sum of weights, so that a row of weight two is a row that is there twice.
        score = gcv(self.coefficients.square().squeeze(1) @ left.square(), (1 - left).sum(0), self.count)
        return float(strengths[score.nan_to_num(nan=torch.inf).argmin()])

    def effective_parameters(self, strength: float) -> float:
        """Sum w / (w + lambda)."""
        return float(self._fitted(strength).sum())

    def dual(self, strength: float) -> Tensor:
        """R (R K R + lambda I)^-1 R (y - f + J theta), (n, 1): J^T times it is the ridge regression's theta."""
        return self.root * (self.q @ (self.coefficients / (self.w + strength).unsqueeze(1)))

    def leverage(self, strength: float) -> Tensor:
        """The diagonal of the hat matrix, for one count of each row, (n, 1).

        A row of weight two is two rows of half the leverage each, of which one is left out. A row of weight one half is
        left out whole.
        """
        diagonal = self.q.square() @ self._fitted(strength)
        return diagonal.unsqueeze(1) / self.root.square().clamp_min(1.0)

    def _fitted(self, strength: float) -> Tensor:
        return self.w / (self.w + strength)


def fit_network(start: Network, rows: Rows, *, max_iter: int, damping: "str | float" = "gcv") -> FittedNetwork:
    """The network with the least score of generalised cross-validation along its fit.

    Each step is a ridge regression on the tangent features, theta = J^T (K + lambda I)^-1 (y - f + J theta), halved
    until sum_i w_i (y_i - f_i)^2 / 2 + lambda ||theta||^2 / 2 falls. The fit is over when the score has not fallen by
    1 % in 5 steps, or no step lowers the objective. This is `revgn.fit` by `LevenbergMarquardt(damping="gcv")`, without
    the certificates, and with weights that count rows.

    Args:
        start: the network to begin with.
        rows: to be fitted.
        max_iter: the most steps.
        damping: "gcv", or lambda itself.
    """
    module = start.module()
    strength, scores, curve = 0.0, list[float](), list[float]()
    best, converged = (start, 0.0), False
    for _ in range(max_iter):
        jacobian = Jacobian(module, rows.inputs, compare_rows=False)
        spectrum = Spectrum.at(jacobian, rows)
        # Slowly at first: at random weights the best lambda of the linear model may be far too small.
        strength = max(spectrum.best_strength(), SLOWEST * strength) if isinstance(damping, str) else damping
        outputs = _step(module, jacobian, spectrum, rows, strength)
        curve.append(rows.loss(jacobian.outputs if outputs is None else outputs))
        if outputs is None:
            converged = True
            best = best if scores else (start, strength)
            break
        used = rows.targets.new_tensor(spectrum.effective_parameters(strength))
        scores.append(float(gcv(rows.squares(outputs), used, rows.count)))
        if scores[-1] == min(scores):
            best = Network.of(module), strength
        before = scores[:-SCORE_PATIENCE]
        if before and min(scores) > (1 - LEAST_FALL) * min(before):
            converged = True
            break
    return _finished(*best, rows, curve, converged=converged)


def _step(module: nn.Module, jacobian: Jacobian, spectrum: Spectrum, rows: Rows, strength: float) -> Tensor | None:
    """Take the step; returns the outputs where it led, or None, and the module as it was, where no length helps."""
    theta = {p: p.detach().clone() for p in jacobian.parameters}
    wanted = jacobian.adjoint(spectrum.dual(strength))

    def objective(outputs: Tensor) -> float:
        squared_norm = sum(float(p.detach().square().sum()) for p in theta)
        return 0.5 * float(rows.squares(outputs)) + 0.5 * strength * squared_norm

    before, length = objective(jacobian.outputs), 1.0
    with torch.no_grad():
        for _ in range(HALVINGS):
            for p, old in theta.items():
                p.copy_(torch.lerp(old, wanted[p], length))
            outputs: Tensor = module(rows.inputs)
            if objective(outputs) < before:  # NaN is not
                return outputs
            length *= 0.5
        for p, old in theta.items():
            p.copy_(old)
    return None


def _finished(network: Network, strength: float, rows: Rows, curve: list[float], *, converged: bool) -> FittedNetwork:
    """What the rows say of the network: its noise and, by the hat matrix, its outputs at each row without that row."""
    jacobian = Jacobian(network.module(), rows.inputs, compare_rows=False)
    spectrum = Spectrum.at(jacobian, rows)
    effective = spectrum.effective_parameters(strength)
    leverage = spectrum.leverage(strength).clamp(0.0, 1 - 1e-6)
    # Without its row a residual is that of the whole fit by one less the leverage: exactly, for ridge regression.
    held_out = rows.targets - (rows.targets - jacobian.outputs) / (1 - leverage)
    return FittedNetwork(
        network=network,
        strength=strength,
        effective_parameters=effective,
        noise=float(rows.squares(jacobian.outputs)) / max(rows.count - effective, 0.5),
        loss_curve=tuple(curve),
        held_out=np.asarray(held_out.squeeze(1)),
        leverage=np.asarray(leverage.squeeze(1)),
        converged=converged,
    )
