"""The problems of `lm`: networks with rows that they are to be fitted to, from a seed, and the same small for tests."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from problems import Problem
from problems import mlp as mlp_of
from revgn.losses import MSELoss


def sinc(seed: int, tiny: bool) -> Problem:
    inputs = torch.linspace(-1, 1, 200 if tiny else 20_000).unsqueeze(1)
    return _problem(seed, (1, 20, 1), nn.Tanh, inputs, torch.sinc(10 * inputs))


def mlp(seed: int, tiny: bool) -> Problem:
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.rand(100 if tiny else 1000, 4, generator=generator, dtype=torch.float64) - 1
    a, b, c, d = x.unbind(1)
    targets = torch.sin(3 * a) * b + torch.exp(-(c**2)) + 0.5 * d * a
    return _problem(seed, (4, 5, 5, 1) if tiny else (4, 20, 20, 1), nn.Tanh, x, targets.unsqueeze(1))


def wide(seed: int, tiny: bool, *, hidden: int) -> Problem:
    return _random(seed, (20, 5, 3) if tiny else (45_120, hidden, 3), 8 if tiny else 38)


def large(seed: int, tiny: bool) -> Problem:
    return _random(seed, (10, 30, 30, 1) if tiny else (1000, 2700, 2700, 1), 20 if tiny else 2000)


def _random(seed: int, widths: Sequence[int], rows: int) -> Problem:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(rows, widths[0], generator=generator)
    return _problem(seed, widths, nn.ReLU, inputs, torch.randn(rows, widths[-1], generator=generator))


def _problem(seed: int, widths: Sequence[int], activation: type[nn.Module], inputs: Tensor, targets: Tensor) -> Problem:
    return Problem(mlp_of(widths, activation=activation, seed=seed, dtype=inputs.dtype), inputs, targets, MSELoss())
