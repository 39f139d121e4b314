"""
Counts: Poisson regression
==========================

Counts are never negative and scatter the more the larger they are. `PoissonNLLLoss` says so; squared error does not.
Both are fitted to the same simulated counts, whose true rate is known.
"""

import copy

import matplotlib.pyplot as plt
import torch
from torch import nn

import revgn

# %%
# Counts by the hour
# ------------------
# 400 hours of a day's course, with rates from 0.3 to 25. The model is a line in sines and cosines of the hour: the
# logarithm of the rate for the Poisson loss, the rate itself for squared error.

torch.manual_seed(0)
hour = 24 * torch.rand(400, 1, dtype=torch.float64)


def features(hour: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of the first three harmonics, (n, 6)."""
    angle = 2 * torch.pi / 24 * hour * torch.arange(1, 4, dtype=hour.dtype)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def rate(hour: torch.Tensor) -> torch.Tensor:
    """The true rate."""
    return torch.exp(1.0 + 2.2 * torch.cos(2 * torch.pi / 24 * (hour - 15)))


counts = torch.poisson(rate(hour))
start = nn.Linear(6, 1).double()

# %%
# Two losses
# ----------
# The gradient and the curvature of the Poisson loss are closed forms; Levenberg-Marquardt uses them as it uses those of
# squared error. The loss leaves out log(y!), so that it falls below zero here.

poisson, squared = copy.deepcopy(start), copy.deepcopy(start)
fit = revgn.fit(poisson, revgn.losses.PoissonNLLLoss(), features(hour), counts)
print(f"{fit.ending} by its {fit.reason} after {fit.steps} steps, loss {fit.loss:.5f}")
revgn.fit(squared, revgn.losses.MSELoss(), features(hour), counts)

line = torch.linspace(0, 24, 200, dtype=torch.float64).unsqueeze(1)
with torch.no_grad():
    found = {"Poisson": poisson(features(line)).exp(), "squared error": squared(features(line))}
for name, value in found.items():
    off = float((value - rate(line)).square().mean().sqrt())
    print(f"{name:<14} off the true rate by {off:.2f}; smallest rate {float(value.min()):.2f}")

figure, axes = plt.subplots(figsize=(6.8, 3.8), layout="constrained")
axes.plot(hour, counts, ".", color="gray", markersize=3)
axes.plot(line, rate(line), color="black", linewidth=1, label="true rate")
for name, value in found.items():
    axes.plot(line, value, label=name)
axes.axhline(0, color="gray", linewidth=0.5)
axes.set(xlabel="hour", ylabel="count")
axes.legend(frameon=False)
plt.show()
