"""Functions rho of robust losses, in the scaled squared residual s, with their first derivatives.

Each is concave with rho(0) = 0 and rho'(0) = 1, so that small residuals count by their square. "huber", "soft_l1" and
"cauchy" are those of `scipy.optimize.least_squares` and of Ceres. SciPy lacks "tukey", which is that of Ceres:
(1 - (1 - s)^3) / 3 up to s = 1 and 1/3 beyond (Beaton and Tukey, 1974).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

Rho = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps s >= 0 to rho(s) and rho'(s), each of the shape of s."""


def huber(s: Tensor) -> tuple[Tensor, Tensor]:
    """Rows beyond s = 1 count by the norm of their residual: s, then 2 sqrt(s) - 1."""
    root = s.clamp_min(1).sqrt()  # the branch that is not taken must not have an infinite derivative at s = 0
    return torch.where(s <= 1, s, 2 * root - 1), 1 / root


def soft_l1(s: Tensor) -> tuple[Tensor, Tensor]:
    """A smooth Huber function: 2 (sqrt(1 + s) - 1)."""
    root = (1 + s).sqrt()
    return 2 * s / (root + 1), 1 / root  # sqrt(1 + s) - 1 would cancel for small s


def cauchy(s: Tensor) -> tuple[Tensor, Tensor]:
    """The pull of a row falls towards zero far out: log(1 + s)."""
    return s.log1p(), 1 / (1 + s)


def tukey(s: Tensor) -> tuple[Tensor, Tensor]:
    """Rows beyond s = 1 do not pull at all: (1 - (1 - s)^3) / 3, then 1/3."""
    cut = s.clamp_max(1)
    return cut * (1 - cut + cut.square() / 3), (1 - cut).square()  # 1 - (1 - s)^3 would cancel for small s


RHOS: Mapping[str, Rho] = MappingProxyType({"huber": huber, "soft_l1": soft_l1, "cauchy": cauchy, "tukey": tukey})
