"""The least-squares problems of Moré, Garbow and Hillstrom, with their standard starts and minima.

"Testing unconstrained optimization software", ACM Trans. Math. Softw. 7 (1981) 17-41: all 35, numbered as there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, exp
from torch.nn.functional import pad

Residuals = Callable[[Tensor], Tensor]
"""From x (n,) to residuals (m,), float64."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Minimise the sum of squares of m residuals in n unknowns.

    Attributes:
        residuals: from x (n,) to (m,), float64; differentiable by autograd at every start.
        start: the standard one (n,), float64.
        minima: the published least sums of squares, not halved, cut off after six digits as in the paper.
            The second ones of Bard and of Kowalik and Osborne are limits as x goes to infinity.
        tries: at how many starts MINPACK's own tests (1980) take the problem up: at 1, 10, 100 times the standard one.
    """

    name: str
    residuals: Residuals
    start: Tensor
    minima: tuple[float, ...]
    tries: int = 1

    @property
    def starts(self) -> list[Tensor]:
        """The standard start and its multiples; those of a start at the origin are 10 and 100 in every coordinate."""
        direction = self.start if self.start.any() else torch.ones_like(self.start)
        return [self.start, *(10**power * direction for power in range(1, self.tries))]


def _data(words: str) -> Tensor:
    return torch.tensor([float(word) for word in words.split()], dtype=torch.float64)


def _numbers(count: int) -> Tensor:
    """1, 2, ..., count."""
    return torch.arange(1, count + 1, dtype=torch.float64)


def _inner(n: int) -> Tensor:
    """The n points inside [0, 1] that cut it into equal parts."""
    return _numbers(n) / (n + 1)


BARD = _data("0.14 0.18 0.22 0.25 0.29 0.32 0.35 0.39 0.37 0.58 0.73 0.96 1.34 2.10 4.39")
GAUSSIAN = _data("0.0009 0.0044 0.0175 0.0540 0.1295 0.2420 0.3521 0.3989")
GAUSSIAN = torch.cat((GAUSSIAN, GAUSSIAN[:-1].flip(0)))  # symmetric about its eighth value
MEYER = _data("34780 28610 23650 19630 16370 13720 11540 9744 8261 7030 6005 5147 4427 3820 3307 2872")
KOWALIK_U = _data("4 2 1 0.5 0.25 0.167 0.125 0.1 0.0833 0.0714 0.0625")
KOWALIK_Y = _data("0.1957 0.1947 0.1735 0.1600 0.0844 0.0627 0.0456 0.0342 0.0323 0.0235 0.0246")
OSBORNE_1 = _data(
    "0.844 0.908 0.932 0.936 0.925 0.908 0.881 0.850 0.818 0.784 0.751 0.718 0.685 0.658 0.628 0.603 0.580"
    " 0.558 0.538 0.522 0.506 0.490 0.478 0.467 0.457 0.448 0.438 0.431 0.424 0.420 0.414 0.411 0.406"
)
OSBORNE_2 = _data(
    "1.366 1.191 1.112 1.013 0.991 0.885 0.831 0.847 0.786 0.725 0.746 0.679 0.608 0.655 0.616 0.606 0.602"
    " 0.626 0.651 0.724 0.649 0.649 0.694 0.644 0.624 0.661 0.612 0.558 0.533 0.495 0.500 0.423 0.395 0.375"
    " 0.372 0.391 0.396 0.405 0.428 0.429 0.523 0.562 0.607 0.653 0.672 0.708 0.633 0.668 0.645 0.632 0.591"
    " 0.559 0.597 0.625 0.739 0.710 0.729 0.720 0.636 0.581 0.428 0.292 0.162 0.098 0.054"
)


def _rosenbrock(x: Tensor) -> Tensor:
    a, b = x.view(-1, 2).T
    return torch.stack((10 * (b - a**2), 1 - a), dim=1).flatten()


def _helical_valley(x: Tensor) -> Tensor:
    # The paper's branch of the angle is cut along the negative second axis: from -1/4 to 3/4 of a turn.
    turn = torch.atan(x[1] / x[0]) / (2 * math.pi) + 0.5 * (x[0] < 0)
    return torch.stack((10 * (x[2] - 10 * turn), 10 * (torch.hypot(x[0], x[1]) - 1), x[2]))


def _gulf(x: Tensor) -> Tensor:
    t = _numbers(99) / 100
    y = 25 + (-50 * torch.log(t)) ** (2 / 3)
    # The paper prints y_i m i x_2 for y_i - x_2: only so is there the zero at (50, 25, 1.5) that it gives.
    return exp(-((y - x[1]).abs() ** x[2]) / x[0]) - t


def _powell_singular(x: Tensor) -> Tensor:
    a, b, c, d = x.view(-1, 4).T
    rows = (a + 10 * b, math.sqrt(5) * (c - d), (b - 2 * c) ** 2, math.sqrt(10) * (a - d) ** 2)
    return torch.stack(rows, dim=1).flatten()


def _wood(x: Tensor) -> Tensor:
    a, b, c, d = x
    first = (10 * (b - a**2), 1 - a, math.sqrt(90) * (d - c**2), 1 - c)
    return torch.stack((*first, math.sqrt(10) * (b + d - 2), (b - d) / math.sqrt(10)))


def _biggs(x: Tensor) -> Tensor:
    t = _numbers(13) / 10
    y = exp(-t) - 5 * exp(-10 * t) + 3 * exp(-4 * t)
    return x[2] * exp(-t * x[0]) - x[3] * exp(-t * x[1]) + x[5] * exp(-t * x[4]) - y


def _osborne_2(x: Tensor) -> Tensor:
    t = (_numbers(65) - 1)[:, None] / 10
    peaks = x[1:4] * exp(-((t - x[8:11]) ** 2) * x[5:8])  # (65, 3)
    return OSBORNE_2 - x[0] * exp(-t[:, 0] * x[4]) - peaks.sum(1)


def _watson(x: Tensor) -> Tensor:
    powers = (_numbers(29) / 29)[:, None] ** (_numbers(len(x)) - 1)  # (29, n)
    slope = powers[:, :-1] @ (_numbers(len(x) - 1) * x[1:])
    return torch.cat((slope - (powers @ x) ** 2 - 1, torch.stack((x[0], x[1] - x[0] ** 2 - 1))))


def _penalty_2(x: Tensor) -> Tensor:
    growth, i = exp(x / 10), _numbers(len(x))
    y = exp(i[1:] / 10) + exp(i[:-1] / 10)
    pairs, single = growth[1:] + growth[:-1] - y, growth[1:] - math.exp(-0.1)
    last = (len(x) - i + 1) @ x**2 - 1
    return torch.cat((x[:1] - 0.2, math.sqrt(1e-5) * pairs, math.sqrt(1e-5) * single, last[None]))


def _variably_dimensioned(x: Tensor) -> Tensor:
    total = _numbers(len(x)) @ (x - 1)
    return torch.cat((x - 1, torch.stack((total, total**2))))


def _integral_equation(x: Tensor) -> Tensor:
    t = _inner(len(x))
    kernel = torch.minimum(t[:, None] * (1 - t), t * (1 - t)[:, None])  # (n, n)
    return x + kernel @ (x + t + 1) ** 3 / (2 * (len(x) + 1))


def _broyden_banded(x: Tensor) -> Tensor:
    band = torch.ones(len(x), len(x), dtype=x.dtype).triu(-5).tril(1).fill_diagonal_(0)
    return x * (2 + 5 * x**2) + 1 - band @ (x * (1 + x))


def _chebyquad(x: Tensor) -> Tensor:
    shifted = 2 * x - 1
    polynomials = [torch.ones_like(x), shifted]  # Chebyshev's, shifted to [0, 1]
    for _ in range(len(x) - 1):
        polynomials.append(2 * shifted * polynomials[-1] - polynomials[-2])
    means = torch.stack(polynomials[1:]).mean(1)
    i = _numbers(len(x))
    return means + torch.where(i % 2 == 0, 1 / (i**2 - 1), 0)  # less the integrals over [0, 1]


NUMBERS = _numbers(33)
M = 20  # residuals of the linear problems
RESIDUALS: dict[int, Residuals] = {
    1: _rosenbrock,
    2: lambda x: torch.stack((x[0] - 13 + ((5 - x[1]) * x[1] - 2) * x[1], x[0] - 29 + ((x[1] + 1) * x[1] - 14) * x[1])),
    3: lambda x: torch.stack((1e4 * x[0] * x[1] - 1, exp(-x).sum() - 1.0001)),
    4: lambda x: torch.stack((x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2)),
    5: lambda x: _data("1.5 2.25 2.625") - x[0] * (1 - x[1] ** _numbers(3)),
    6: lambda x, i=NUMBERS[:10]: 2 + 2 * i - exp(i * x[0]) - exp(i * x[1]),
    7: _helical_valley,
    8: lambda x, u=NUMBERS[:15]: BARD - x[0] - u / ((16 - u) * x[1] + torch.minimum(u, 16 - u) * x[2]),
    9: lambda x, t=4 - NUMBERS[:15] / 2: x[0] * exp(-x[1] * (t - x[2]) ** 2 / 2) - GAUSSIAN,
    10: lambda x, t=45 + 5 * NUMBERS[:16]: x[0] * exp(x[1] / (t + x[2])) - MEYER,
    11: _gulf,
    12: lambda x, t=NUMBERS[:10] / 10: exp(-t * x[0]) - exp(-t * x[1]) - x[2] * (exp(-t) - exp(-10 * t)),
    13: _powell_singular,
    14: _wood,
    15: lambda x, u=KOWALIK_U: KOWALIK_Y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3]),
    16: lambda x, t=NUMBERS[:20] / 5: (x[0] + t * x[1] - exp(t)) ** 2 + (x[2] + x[3] * t.sin() - t.cos()) ** 2,
    17: lambda x, t=10 * NUMBERS[:33] - 10: OSBORNE_1 - x[0] - x[1] * exp(-t * x[3]) - x[2] * exp(-t * x[4]),
    18: _biggs,
    19: _osborne_2,
    20: _watson,
    21: _rosenbrock,
    22: _powell_singular,
    23: lambda x: torch.cat((math.sqrt(1e-5) * (x - 1), (x @ x - 0.25)[None])),
    24: _penalty_2,
    25: _variably_dimensioned,
    26: lambda x: len(x) - x.cos().sum() + _numbers(len(x)) * (1 - x.cos()) - x.sin(),
    27: lambda x: torch.cat((x[:-1] + x.sum() - len(x) - 1, (x.prod() - 1)[None])),
    # The coordinates before, pad(x, (1, -1)), and after, with zeros beyond the ends.
    28: lambda x: 2 * x - pad(x, (1, -1)) - pad(x, (-1, 1)) + (x + _inner(len(x)) + 1) ** 3 / 2 / (len(x) + 1) ** 2,
    29: _integral_equation,
    30: lambda x: (3 - 2 * x) * x - pad(x, (1, -1)) - 2 * pad(x, (-1, 1)) + 1,
    31: _broyden_banded,
    32: lambda x: pad(x, (0, M - len(x))) - 2 / M * x.sum() - 1,
    33: lambda x: _numbers(M) * (_numbers(len(x)) @ x) - 1,
    34: lambda x: pad(_numbers(M - 2), (1, 1)) * (_numbers(len(x))[1:-1] @ x[1:-1]) - 1,
    35: _chebyquad,
}


def _problem(number: int, name: str, start: Any, *minima: float, tries: int = 1) -> Problem:
    return Problem(name, RESIDUALS[number], torch.as_tensor(start, dtype=torch.float64), minima, tries)


PROBLEMS = (
    _problem(1, "Rosenbrock", [-1.2, 1], 0, tries=3),
    _problem(2, "Freudenstein and Roth", [0.5, -2], 0, 48.9842, tries=3),
    _problem(3, "Powell badly scaled", [0, 1], 0, tries=2),
    _problem(4, "Brown badly scaled", [1, 1], 0),
    _problem(5, "Beale", [1, 1], 0),
    _problem(6, "Jennrich and Sampson", [0.3, 0.4], 124.362),
    _problem(7, "helical valley", [-1, 0, 0], 0, tries=3),
    _problem(8, "Bard", [1, 1, 1], 8.21487e-3, 17.4286, tries=3),
    _problem(9, "Gaussian", [0.4, 1, 0], 1.12793e-8),
    _problem(10, "Meyer", [0.02, 4000, 250], 87.9458, tries=2),
    _problem(11, "Gulf research and development", [5, 2.5, 0.15], 0),
    _problem(12, "box three-dimensional", [0, 10, 20], 0),
    _problem(13, "Powell singular", [3, -1, 0, 1], 0, tries=3),
    _problem(14, "Wood", [-3, -1, -3, -1], 0, tries=3),
    _problem(15, "Kowalik and Osborne", [0.25, 0.39, 0.415, 0.39], 3.07505e-4, 1.02734e-3, tries=3),
    _problem(16, "Brown and Dennis", [25, 5, -5, -1], 85822.2, tries=3),
    _problem(17, "Osborne 1", [0.5, 1.5, -1, 0.01, 0.02], 5.46489e-5),
    _problem(18, "Biggs EXP6", [1, 2, 1, 1, 1, 1], 0, 5.65565e-3),
    _problem(19, "Osborne 2", [1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5], 4.01377e-2),
    _problem(20, "Watson, n = 6", 6 * [0], 2.28767e-3, tries=3),
    _problem(20, "Watson, n = 9", 9 * [0], 1.39976e-6, tries=3),
    _problem(20, "Watson, n = 12", 12 * [0], 4.72238e-10, tries=3),
    _problem(21, "extended Rosenbrock", 10 * [-1.2, 1], 0),
    _problem(22, "extended Powell singular", 5 * [3, -1, 0, 1], 0),
    _problem(23, "penalty I, n = 4", _numbers(4), 2.24997e-5),
    _problem(23, "penalty I, n = 10", _numbers(10), 7.08765e-5),
    _problem(24, "penalty II, n = 4", 4 * [0.5], 9.37629e-6),
    _problem(24, "penalty II, n = 10", 10 * [0.5], 2.93660e-4),
    _problem(25, "variably dimensioned", 1 - _numbers(10) / 10, 0, tries=3),
    # Its second minimum is not in the paper: it is where SciPy's "lm" and "trf" both end from the standard start.
    _problem(26, "trigonometric", 10 * [0.1], 0, 2.79505e-5, tries=3),
    _problem(27, "Brown almost-linear", 10 * [0.5], 0, 1, tries=3),
    _problem(28, "discrete boundary value", _inner(10) * (_inner(10) - 1), 0, tries=3),
    _problem(29, "discrete integral equation", _inner(10) * (_inner(10) - 1), 0, tries=3),
    _problem(30, "Broyden tridiagonal", 10 * [-1], 0, tries=3),
    _problem(31, "Broyden banded", 10 * [-1], 0, tries=3),
    _problem(32, "linear, full rank", 5 * [1], M - 5),
    _problem(33, "linear, rank 1", 5 * [1], M * (M - 1) / (2 * (2 * M + 1))),
    _problem(34, "linear, rank 1, zero columns and rows", 5 * [1], (M**2 + 3 * M - 6) / (2 * (2 * M - 3))),
    _problem(35, "Chebyquad, n = 7", _inner(7), 0, tries=3),
    _problem(35, "Chebyquad, n = 8", _inner(8), 3.51687e-3),
    _problem(35, "Chebyquad, n = 9", _inner(9), 0),
    _problem(35, "Chebyquad, n = 10", _inner(10), 6.50395e-3),
)
