"""
A curve, its parameters and their errors
========================================

A decaying oscillation is fitted to 60 noisy points. `revgn.fit` runs Levenberg-Marquardt to a named ending; the fit
knows the standard errors of the parameters and the uncertainty of the curve.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import revgn

# %%
# The model
# ---------
# Any module is a model. Parameters go by their attributes' names; standard errors are for float64.

TRUE = {"amplitude": 2.0, "decay": 0.4, "frequency": 3.0, "offset": 0.5}
NOISE = 0.15


class Oscillation(nn.Module):
    """amplitude exp(-decay t) cos(frequency t) + offset, for t of shape (n, 1)."""

    def __init__(self, **start: float) -> None:
        super().__init__()
        for name, value in start.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value, dtype=torch.float64)))

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        return self.amplitude * torch.exp(-self.decay * t) * torch.cos(self.frequency * t) + self.offset


# %%
# The data
# --------
# The start is off by a third or more in each parameter but the frequency: a frequency that is a whole period off
# leads to another minimum, whatever the method.

torch.manual_seed(0)
t = torch.linspace(0, 5, 60, dtype=torch.float64).unsqueeze(1)
with torch.no_grad():
    clean = Oscillation(**TRUE)(t)
y = clean + NOISE * torch.randn_like(clean)

model = Oscillation(amplitude=1.0, decay=1.0, frequency=2.6, offset=0.0)
fit = revgn.fit(model, inputs=t, targets=y)
print(fit)

# %%
# Errors and correlations
# -----------------------
# The standard errors come from J at the end and the noise that the residuals show. Amplitude and decay are correlated:
# a larger amplitude that decays faster looks almost the same.

names = list(fit.standard_errors)
print("correlations")
for name, row in zip(names, fit.correlations.tolist(), strict=True):
    print(f"  {name:<10}" + "".join(f"{value:7.2f}" for value in row))
off = {name: (getattr(model, name).item() - TRUE[name]) / fit.standard_errors[name].item() for name in names}
print("standard errors from the truth: " + ", ".join(f"{name} {value:.2f}" for name, value in off.items()))
print(f"noise: {fit.uncertainty.noise:.3f} estimated, {NOISE} true")

# %%
# The band
# --------
# The inner band is the curve's own uncertainty, two standard deviations wide each way; the outer one, with
# `noise=True`, is where 95 % of new observations fall. Beyond the data both are those of the linearised model.

wide = torch.linspace(0, 7, 300, dtype=torch.float64).unsqueeze(1)
mean, std = fit.predict(wide, std=True)
_, spread = fit.predict(wide, std=True, noise=True)
x, middle, s, around = wide.squeeze(1), mean.squeeze(1), 2 * std.squeeze(1), 2 * spread.squeeze(1)

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.fill_between(x, middle - around, middle + around, color="tab:blue", alpha=0.15, label="new observations, 95 %")
axes.fill_between(x, middle - s, middle + s, color="tab:blue", alpha=0.4, label="curve, 95 %")
axes.plot(x, middle, color="tab:blue", label="fit")
with torch.no_grad():
    axes.plot(x, Oscillation(**TRUE)(wide).squeeze(1), "k--", linewidth=1, label="truth")
axes.plot(t.squeeze(1), y.squeeze(1), ".", color="tab:red", label="data")
axes.set(xlabel="t", ylabel="y", title=f"{fit.ending} after {fit.steps} steps")
axes.axvline(float(t.max()), color="gray", linewidth=0.5)
axes.legend(ncols=2, frameon=False)
plt.show()
