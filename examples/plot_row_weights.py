"""
Rows that count differently
===========================

Two instruments measure the same curve, one five times as precise as the other. `sample_weight` says so: the fit then
listens to the better one, and its error bars shrink.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import revgn

# %%
# Two instruments
# ---------------

torch.manual_seed(0)
TRUE, DEVIATIONS = (2.0, 1.5), (0.4, 0.08)


class Saturation(nn.Module):
    """a x / (b + x), for x (n, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.ones((), dtype=torch.float64)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a * x / (self.b + x)


x = 0.1 + 6 * torch.rand(60, 1, dtype=torch.float64)
deviation = torch.tensor([DEVIATIONS[i % 2] for i in range(60)], dtype=torch.float64).unsqueeze(1)
y = TRUE[0] * x / (TRUE[1] + x) + deviation * torch.randn_like(x)

# %%
# Weights are one over the variance
# ---------------------------------
# Only their ratios matter. Rows of weight zero are left out.

errors = {}
for name, weight in (("all alike", None), ("weighted", 1 / deviation.squeeze(1).square())):
    model = Saturation()
    fit = revgn.fit(model, inputs=x, targets=y, sample_weight=weight)
    errors[name] = [float(error) for error in fit.standard_errors.values()]
    found = [p.item() for p in model.parameters()]
    print(f"{name:<10} a {found[0]:.3f} +/- {errors[name][0]:.3f}, b {found[1]:.3f} +/- {errors[name][1]:.3f}")
print(f"errors shrink by {errors['all alike'][0] / errors['weighted'][0]:.1f}, true values {TRUE}")

line = torch.linspace(0.1, 6.1, 100, dtype=torch.float64).unsqueeze(1)
mean, std = fit.predict(line, std=True)
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for index, label in enumerate(("coarse instrument", "fine instrument")):
    axes.errorbar(x[index::2, 0], y[index::2, 0], DEVIATIONS[index], fmt=".", elinewidth=0.8, label=label)
low, high = (mean - 2 * std).squeeze(1).detach(), (mean + 2 * std).squeeze(1).detach()
axes.fill_between(line.squeeze(1), low, high, alpha=0.4, color="gray", label="weighted fit, two standard errors")
axes.set(xlabel="x")
axes.legend(frameon=False)
plt.show()
