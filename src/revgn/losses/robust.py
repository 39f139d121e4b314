"""Robust losses: rows that lie far out pull less than their squared error would."""

import math
from typing import Literal

import torch
from torch import Tensor

from revgn.losses.loss import GaussNewtonLoss, identities
from revgn.losses.squared import MSELoss
from revgn.naming import unknown_name

# Functions of the scaled squared residual s >= 0: rho(s) and rho'(s), each of the shape of s. All are concave with
# rho(0) = 0 and rho'(0) = 1, so that small residuals count by their square.


def huber(s: Tensor) -> tuple[Tensor, Tensor]:
    """Huber's function: s up to 1, then 2 sqrt(s) - 1."""
    root = s.clamp_min(1).sqrt()  # the branch that is not taken must not have an infinite derivative at s = 0
    return torch.where(s <= 1, s, 2 * root - 1), 1 / root


def soft_l1(s: Tensor) -> tuple[Tensor, Tensor]:
    """A smooth Huber function: 2 (sqrt(1 + s) - 1)."""
    root = (1 + s).sqrt()
    return 2 * s / (root + 1), 1 / root  # sqrt(1 + s) - 1 would cancel for small s


def cauchy(s: Tensor) -> tuple[Tensor, Tensor]:
    """Cauchy's function: log(1 + s)."""
    return s.log1p(), 1 / (1 + s)


def tukey(s: Tensor) -> tuple[Tensor, Tensor]:
    """Tukey's biweight: (1 - (1 - s)^3) / 3 up to s = 1, then 1/3."""
    cut = s.clamp_max(1)
    return cut * (1 - cut + cut.square() / 3), (1 - cut).square()  # 1 - (1 - s)^3 would cancel for small s


RHOS = {"huber": huber, "soft_l1": soft_l1, "cauchy": cauchy, "tukey": tukey}


class Robust(GaussNewtonLoss):
    """A loss for data with outliers: 0.5 c^2 rho(s) in every row, s = 2 base / c^2, mean over rows; c is `scale`.

    With the base `MSELoss`, s is the squared norm of a row's residual over c^2. Rows with a residual much smaller
    than c count as in the base, rows far beyond it less, the further down this list the less:

    - `"huber"`: by the norm of the residual, from s = 1 on. Convex: the one to try first.
    - `"soft_l1"`: the same, with a smooth passage.
    - `"cauchy"`: by the logarithm of the norm; outliers hardly pull.
    - `"tukey"`: not at all beyond s = 1. It needs a good start: a row that lies further out does not come back.

    The gradient and H are rho' times those of the base, so r is the base's, and zero in rows with rho' = 0. In an exact
    step, which moves all outputs by r, outliers therefore weigh as much as any row: use a robust loss where the model
    cannot or, by damping, must not follow every row.

    H leaves out the term 2 rho'' / c^2 g g^T of the Hessian, as Ceres does wherever rho'' <= 0. That term makes H
    singular or indefinite in outlying rows; without it the quadratic model lies above the loss (rho is concave), so
    that with outputs linear in the parameters a full step never raises it.

    Targets: those of the base.

    Args:
        rho: "huber", "soft_l1", "cauchy" or "tukey".
        base: a loss whose value is never negative, of which s is made; `MSELoss()` by default.
        scale: c, the norm of a residual from which on a row counts as lying far out; 1 by default.

    Raises:
        ValueError: unknown rho; scale not positive and finite. With targets: a value of the base is negative.
        TypeError: base is no `GaussNewtonLoss`.

    Source: Triggs, McLauchlan, Hartley and Fitzgibbon, Bundle Adjustment: A Modern Synthesis (1999), section 4.3; Ceres
    Solver, class Corrector, whose rho these are (the first three also SciPy's; Tukey's is of Beaton and Tukey, 1974).
    The steps are those of iteratively reweighted least squares.
    """

    def __init__(
        self,
        rho: Literal["huber", "soft_l1", "cauchy", "tukey"],
        base: GaussNewtonLoss | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if rho not in RHOS:
            raise ValueError(unknown_name("rho", rho, RHOS))
        if base is not None and not isinstance(base, GaussNewtonLoss):
            raise TypeError(f"base of type {type(base).__name__}; expected a loss of revgn.losses, such as MSELoss()")
        if not 0.0 < scale < math.inf:
            raise ValueError(f"scale must be finite and positive, got {scale}")
        self.rho = rho
        self.base = MSELoss() if base is None else base
        self.scale = scale

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        self.base.check_targets(outputs, targets)
        smallest = self.base.value(outputs, targets).min()
        if smallest < 0:
            raise ValueError(
                f"{type(self.base).__name__} has the value {smallest:g} in a row; Robust takes the value of its base "
                "for a squared residual, which is never negative: use another base, such as MSELoss()"
            )

    def own_weight(self, targets: Tensor) -> Tensor | None:
        return self.base.own_weight(targets)

    def _rho(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The values rho(s), (n,), and rho'(s), (n, 1)."""
        rho, slope = RHOS[self.rho](2 / self.scale**2 * self.base.value(outputs, targets))
        return rho, slope.unsqueeze(-1)

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * self.scale**2 * self._rho(outputs, targets)[0]

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._rho(outputs, targets)[1] * self.base.gradient(outputs, targets)

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor:
        curvature = self.base.curvature(outputs, targets)
        slope = self._rho(outputs, targets)[1].unsqueeze(-1)
        return slope * (identities(outputs) if curvature is None else curvature)

    def direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.where(self._rho(outputs, targets)[1] > 0, self.base.direction(outputs, targets), 0.0)

    def root(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        root = self.base.root(outputs, targets, sample_weight)
        slope = self._rho(outputs, targets)[1].unsqueeze(-1)
        return slope.sqrt() * (identities(outputs) if root is None else root)

    def extra_repr(self) -> str:
        return f"rho={self.rho!r}, scale={self.scale}"
