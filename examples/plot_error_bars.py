"""
Predictions with error bars
===========================

A network of 1,153 parameters is fitted to 60 noisy points. How much of it the data may use is chosen by generalised
cross-validation, and each prediction has a standard deviation.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import revgn

# %%
# Noisy points, with a gap
# ------------------------

torch.manual_seed(0)
NOISE = 0.15


def truth(x: torch.Tensor) -> torch.Tensor:
    """What the points scatter about."""
    return torch.sin(3 * x) + 0.3 * x


x = torch.cat([torch.rand(30, 1) * 1.4 - 2, torch.rand(30, 1) * 1.4 + 0.6]).double()
y = truth(x) + NOISE * torch.randn_like(x)

# %%
# A ridge at every step
# ---------------------
# `damping="gcv"` makes each step a ridge regression on the tangent features. It needs no validation rows. The fit says
# how many of the parameters are effective.

model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)).double()
fit = revgn.fit(model, inputs=x, targets=y, optimizer=revgn.LevenbergMarquardt(model, damping="gcv"))
print(fit)

# %%
# Mean and deviation
# ------------------
# `std=True` gives the deviation of the mean, `noise=True` that of a new observation. Both are of the linearised model:
# within the gap the band opens, far outside of the data it tells less than it seems to.

new = torch.linspace(-2, 2, 200, dtype=torch.float64).unsqueeze(1)
mean, std = fit.predict(new, std=True)
_, observed = fit.predict(new, std=True, noise=True)
mean = mean.detach()

again = truth(x) + NOISE * torch.randn_like(x)  # new observations at the same places
center, spread = fit.predict(x, std=True, noise=True)
inside = float(((again - center.detach()).abs() <= 1.645 * spread).double().mean())
print(f"noise {fit.uncertainty.noise:.3f}, true {NOISE}; 90 % intervals cover {inside:.0%} of new observations")

figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
line = new.squeeze(1)
for deviation, alpha in ((observed, 0.15), (std, 0.35)):
    low, high = (mean - 1.645 * deviation).squeeze(1), (mean + 1.645 * deviation).squeeze(1)
    axes.fill_between(line, low, high, color="tab:blue", alpha=alpha, linewidth=0)
axes.plot(line, mean.squeeze(1), color="tab:blue", label="mean, 90 % of it and of observations")
axes.plot(line, truth(line), color="gray", linewidth=0.8, label="truth")
axes.plot(x.squeeze(1), y.squeeze(1), ".", color="black", markersize=4)
axes.set(xlabel="x", ylim=(-3, 3))
axes.legend(frameon=False)
plt.show()
