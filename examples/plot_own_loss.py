"""
A loss of your own
==================

A loss is one function of outputs and targets, row by row. Gradient, curvature and the direction r come by autograd.
Here an asymmetric loss: predicting too little costs more than predicting too much.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import revgn

# %%
# The loss
# --------
# Expectile regression: squared residuals, weighed by tau where the target lies above the prediction and by 1 - tau
# below. `value` returns one number a row, (n,); the mean over rows is the base class's.


class Expectile(revgn.losses.GaussNewtonLoss):
    """sum over outputs of w e^2 / 2 with e = F - Y; w = tau for e < 0, 1 - tau above."""

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.tau = tau

    def value(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        e = outputs - targets
        weight = torch.where(e < 0, self.tau, 1 - self.tau)
        return (0.5 * weight * e.square()).sum(-1)


# %%
# Three expectiles of data whose scatter grows
# --------------------------------------------
# Levenberg-Marquardt treats the loss as one of its own: it is tried, damped and ended in the same way.

torch.manual_seed(0)
x = torch.rand(300, 1, dtype=torch.float64)
y = torch.sin(5 * x) + (0.1 + 0.5 * x) * torch.randn_like(x)


def powers(x: torch.Tensor) -> torch.Tensor:
    """x, x^2, ..., x^5, (n, 5)."""
    return x ** torch.arange(1, 6, dtype=x.dtype)


line = torch.linspace(0, 1, 200, dtype=torch.float64).unsqueeze(1)
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
axes.plot(x, y, ".", color="gray", markersize=3)
shares = []
for tau in (0.05, 0.5, 0.95):
    model = nn.Linear(5, 1).double()
    fit = revgn.fit(model, Expectile(tau), powers(x), y)
    with torch.no_grad():
        shares.append(float((y < model(powers(x))).double().mean()))
        axes.plot(line, model(powers(line)), label=f"tau {tau}")
    print(f"tau {tau}: {fit.ending} after {fit.steps} steps, {shares[-1]:.1%} of the points lie below")
axes.set(xlabel="x")
axes.legend(frameon=False)
plt.show()
