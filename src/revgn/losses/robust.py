"""Robust losses: rows that lie far out pull less than their squared error would."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from revgn._names import unknown_name
from revgn.losses.base import GaussNewtonLoss
from revgn.losses.rho import RHOS
from revgn.losses.squared import MSELoss
from revgn.losses.weights import weighed

LEAST_BEND = 0.1
"""Epsilon of the correction: a row keeps epsilon^2 of the curvature that rho' alone would give it along its residual."""


class Robust(GaussNewtonLoss):
    """A loss for data with outliers: 0.5 c^2 rho(s) in every row, s = 2 base / c^2, mean over rows; c is `scale`.

    With the base `MSELoss`, s is the squared norm of a row's residual f = F - Y over c^2. Rows with a residual much
    smaller than c count as in the base, rows far beyond it less, the further down this list the less:

    - `"huber"`: by the norm of the residual, from s = 1 on. Convex: the one to try first.
    - `"soft_l1"`: the same, with a smooth passage.
    - `"cauchy"`: by the logarithm of the norm; outliers hardly pull.
    - `"tukey"`: not at all beyond s = 1. It needs a good start: a row that lies further out never comes back.

    Let g, H and r = H^+ g be those of the base. The gradient is rho' g. The curvature is the Triggs correction
    rho' (H - (2 a - a^2) u u^T / q), where u = H r and q = r^T u (for `MSELoss` both vectors are f, and q = ||f||^2),
    and a is the root of a^2 / 2 - a - (rho'' / rho') q / c^2 = 0. Up to a = 1 that is the Hessian, beyond the matrix
    would be indefinite: a is limited to 1 - epsilon, epsilon = 0.1. The direction is r / (1 - a)^2, at most 100 r; it
    is zero, as is the gradient, in rows with rho' = 0.

    Targets: those of the base.

    Args:
        rho: "huber", "soft_l1", "cauchy" or "tukey".
        base: a loss whose value is never negative, of which s is made; `MSELoss()` by default.
        scale: c, the norm of a residual from which on a row counts as lying far out; 1 by default.

    Raises:
        ValueError: unknown rho; scale not positive and finite. With targets: a value of the base is negative.
        TypeError: base is no `GaussNewtonLoss`.

    Source: Triggs, McLauchlan, Hartley and Fitzgibbon, Bundle Adjustment: A Modern Synthesis (1999), section 4.3, and
    Ceres Solver's documentation of it, section Theory of LossFunction, which limits a for "some small epsilon". The
    code of Ceres (Corrector) goes further: it takes a = 0 wherever rho'' < 0, so everywhere for the rho above.
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

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * self.scale**2 * self._rho(outputs, targets)[0]

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._rho(outputs, targets)[1].unsqueeze(-1) * self.base.gradient(outputs, targets)

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor:
        slope, bend, r, q = self._correction(outputs, targets)
        curvature = self.base.curvature(outputs, targets)
        if curvature is None:
            curvature = _identity(outputs)
        u = (curvature @ r.unsqueeze(-1)) * (bend / q).sqrt().view(-1, 1, 1)  # its square is no larger than H's entries
        return slope.view(-1, 1, 1) * (curvature - u @ u.mT)

    def direction(self, outputs: Tensor, targets: Tensor) -> Tensor:
        slope, bend, r, _ = self._correction(outputs, targets)
        return torch.where(slope > 0, 1 / (1 - bend), 0.0).unsqueeze(-1) * r

    def root(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        slope, bend, r, q = self._correction(outputs, targets)
        root = self.base.root(outputs, targets)
        if root is None:
            root = _identity(outputs)
        # Ceres' form of the correction, which takes no square root of a matrix: sqrt(rho') (I - a v v^T / q) R, v = R r.
        a = 1 - (1 - bend).sqrt()
        v = root @ r.unsqueeze(-1)
        corrected = slope.sqrt().view(-1, 1, 1) * (root - (a / q).view(-1, 1, 1) * v @ (v.mT @ root))
        return weighed(corrected, sample_weight)

    def extra_repr(self) -> str:
        return f"rho={self.rho!r}, scale={self.scale}"

    def _rho(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The values rho(s), rho'(s) and rho''(s) of every row, (n,) each."""
        return RHOS[self.rho](2 / self.scale**2 * self.base.value(outputs, targets))

    def _correction(self, outputs: Tensor, targets: Tensor) -> "_Correction":
        _, slope, second = self._rho(outputs, targets)
        r, curvature = self.base.direction(outputs, targets), self.base.curvature(outputs, targets)
        u = r if curvature is None else (curvature @ r.unsqueeze(-1)).squeeze(-1)
        tiny = torch.finfo(r.dtype).tiny  # in place of zeros to divide by: what is divided is zero there too
        q = (r * u).sum(-1).clamp_min(tiny)
        # The root a < 1 has (1 - a)^2 = 1 + 2 (rho'' / rho') q / c^2, which is 1 - bend.
        bend = (-2 / self.scale**2 * second / slope.clamp_min(tiny) * q).clamp(0.0, 1 - LEAST_BEND**2)
        return _Correction(slope, bend, r, q)


class _Correction(NamedTuple):
    """What turns the base's curvature into that of the robust loss, row by row.

    Attributes:
        slope: rho', (n,).
        bend: 2 a - a^2, (n,).
        r: the base's direction, (n, d_out).
        q: r^T H r with the base's H, (n,).
    """

    slope: Tensor
    bend: Tensor
    r: Tensor
    q: Tensor


def _identity(outputs: Tensor) -> Tensor:
    return torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device).expand(len(outputs), -1, -1)
