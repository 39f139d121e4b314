"""NIST's nonlinear regression problems: data, models, both starts, and the certified parameters.

From the Statistical Reference Datasets, computed by NIST in 128-bit arithmetic; eleven digits are published.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

FOLDER = Path(__file__).with_name("nist")

Formula = Callable[..., Tensor]
"""Expected response (n, 1) from the columns of the inputs, (n, 1) each, and the parameters, one by one."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A regression with p parameters on n observations, all float64.

    Attributes:
        model: from parameters (p,) to the model that starts there, with inputs (n, 1 or 2) and outputs (n, 1).
        inputs: predictors (n, 1 or 2).
        targets: response (n, 1); of Nelson its logarithm, which is what is modelled there.
        starts: two of them, (2, p), far from the solution and near to it.
        certified: parameters of least squares (p,).
        deviations: standard deviations of the parameters (p,), by the Jacobian at the solution.
        sum_of_squares: the least one, not halved.
    """

    name: str
    model: Callable[[Tensor], nn.Module]
    inputs: Tensor
    targets: Tensor
    starts: Tensor
    certified: Tensor
    deviations: Tensor
    sum_of_squares: float


class Curve(nn.Module):
    """The formula with parameter vector b (p,), float64."""

    def __init__(self, formula: Formula, start: Tensor) -> None:
        super().__init__()
        self.formula = formula
        self.b = nn.Parameter(start.detach().clone().double())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.formula(*inputs.split(1, dim=1), *self.b.unbind())


def load(name: str) -> Problem:
    """The problem of that name, one of `NAMES`, from NIST's file."""
    lines = (FOLDER / f"{name}.dat").read_text(encoding="ascii").splitlines()
    # "b1 =  start 1  start 2  certified value  standard deviation", a line for each parameter
    parameters = _table(line.partition("=")[2] for line in lines if re.match(r"\s*b\d+ =", line))
    [sum_of_squares] = [line.rpartition(":")[2] for line in lines if line.startswith("Residual Sum of Squares:")]
    heading = max(number for number, line in enumerate(lines) if line.startswith("Data:"))
    data = _table(lines[heading + 1 :])
    response, inputs = data[:, :1], data[:, 1:]
    start_1, start_2, certified, deviations = parameters.unbind(1)
    return Problem(
        name=name,
        model=functools.partial(Curve, FORMULAS[name]),
        inputs=inputs,
        targets=response.log() if name == "Nelson" else response,
        starts=torch.stack((start_1, start_2)),
        certified=certified,
        deviations=deviations,
        sum_of_squares=float(sum_of_squares),
    )


def _table(lines: Iterable[str]) -> Tensor:
    return torch.tensor([[float(word) for word in line.split()] for line in lines if line.strip()], dtype=torch.float64)


def _saturation(x: Tensor, b1: Tensor, b2: Tensor) -> Tensor:
    return b1 * (1 - torch.exp(-b2 * x))


def _damped_ratio(x: Tensor, b1: Tensor, b2: Tensor, b3: Tensor) -> Tensor:
    return torch.exp(-b1 * x) / (b2 + b3 * x)


def _peaks(x: Tensor, *b: Tensor) -> Tensor:
    b1, b2, b3, b4, b5, b6, b7, b8 = b
    first, second = torch.exp(-(((x - b4) / b5) ** 2)), torch.exp(-(((x - b7) / b8) ** 2))
    return b1 * torch.exp(-b2 * x) + b3 * first + b6 * second


def _decays(x: Tensor, *b: Tensor) -> Tensor:
    b1, b2, b3, b4, b5, b6 = b
    return b1 * torch.exp(-b2 * x) + b3 * torch.exp(-b4 * x) + b5 * torch.exp(-b6 * x)


def _cubics(x: Tensor, *b: Tensor) -> Tensor:
    b1, b2, b3, b4, b5, b6, b7 = b
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)


def _southern_oscillation(x: Tensor, *b: Tensor) -> Tensor:
    b1, b2, b3, b4, b5, b6, b7, b8, b9 = b
    year, long, short = 2 * math.pi * x / 12, 2 * math.pi * x / b4, 2 * math.pi * x / b7
    annual = b2 * torch.cos(year) + b3 * torch.sin(year)
    return b1 + annual + b5 * torch.cos(long) + b6 * torch.sin(long) + b8 * torch.cos(short) + b9 * torch.sin(short)


FORMULAS: dict[str, Formula] = {
    "Bennett5": lambda x, b1, b2, b3: b1 * (b2 + x) ** (-1 / b3),
    "BoxBOD": _saturation,
    "Chwirut1": _damped_ratio,
    "Chwirut2": _damped_ratio,
    "DanWood": lambda x, b1, b2: b1 * x**b2,
    "ENSO": _southern_oscillation,
    "Eckerle4": lambda x, b1, b2, b3: b1 / b2 * torch.exp(-0.5 * ((x - b3) / b2) ** 2),
    "Gauss1": _peaks,
    "Gauss2": _peaks,
    "Gauss3": _peaks,
    "Hahn1": _cubics,
    "Kirby2": lambda x, b1, b2, b3, b4, b5: (b1 + b2 * x + b3 * x**2) / (1 + b4 * x + b5 * x**2),
    "Lanczos1": _decays,
    "Lanczos2": _decays,
    "Lanczos3": _decays,
    "MGH09": lambda x, b1, b2, b3, b4: b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4),
    "MGH10": lambda x, b1, b2, b3: b1 * torch.exp(b2 / (x + b3)),
    "MGH17": lambda x, b1, b2, b3, b4, b5: b1 + b2 * torch.exp(-x * b4) + b3 * torch.exp(-x * b5),
    "Misra1a": _saturation,
    "Misra1b": lambda x, b1, b2: b1 * (1 - (1 + b2 * x / 2) ** -2),
    "Misra1c": lambda x, b1, b2: b1 * (1 - (1 + 2 * b2 * x) ** -0.5),
    "Misra1d": lambda x, b1, b2: b1 * b2 * x / (1 + b2 * x),
    "Nelson": lambda time, temperature, b1, b2, b3: b1 - b2 * time * torch.exp(-b3 * temperature),
    "Rat42": lambda x, b1, b2, b3: b1 / (1 + torch.exp(b2 - b3 * x)),
    "Rat43": lambda x, b1, b2, b3, b4: b1 / (1 + torch.exp(b2 - b3 * x)) ** (1 / b4),
    "Roszman1": lambda x, b1, b2, b3, b4: b1 - b2 * x - torch.atan(b3 / (x - b4)) / math.pi,
    "Thurber": _cubics,
}
NAMES = tuple(FORMULAS)
