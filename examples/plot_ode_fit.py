"""
Parameters of a differential equation
=====================================

Hares and lynxes by Lotka and Volterra: dx/dt = a x - b x y, dy/dt = -c y + d x y. The four rates and both populations
at the start are found from 40 noisy counts of each. The equation is solved in torch, and differentiated through.
"""

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

import revgn

# %%
# The model
# ---------
# All six unknowns are positive, so that the parameters are their logarithms: no step can leave the range, and the
# standard error of a logarithm is a relative error.

NAMES = ["a", "b", "c", "d", "x(0)", "y(0)"]
TRUE = torch.tensor([1.0, 0.1, 1.5, 0.075, 10.0, 5.0], dtype=torch.float64)
NOISE = 0.05
SUBSTEPS = 1  # Runge-Kutta steps from one observation to the next; the counts are made with the same


class LotkaVolterra(nn.Module):
    """Both populations at given times, by the classical Runge-Kutta method of fourth order."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.log = nn.Parameter(values.log())

    def forward(self, times: Tensor) -> Tensor:
        a, b, c, d, x, y = self.log.exp()
        rates = torch.stack([a, -c])
        mutual = torch.stack([-b, d])

        def change(state: Tensor) -> Tensor:
            return rates * state + mutual * state[0] * state[1]

        state = torch.stack([x, y])
        found = [state]
        for h in times.diff() / SUBSTEPS:  # a tensor: torch is slow at a dual number times one of Python's
            for _ in range(SUBSTEPS):
                k1 = change(state)
                k2 = change(state + h / 2 * k1)
                k3 = change(state + h / 2 * k2)
                k4 = change(state + h * k3)
                state = state + h / 6 * (k1 + k4) + h / 3 * (k2 + k3)
            found.append(state)
        return torch.stack(found)


# %%
# Residuals
# ---------
# Each row is a state that came out of all states before it: rows depend on each other, and `revgn` sees this and
# differentiates the solution as a whole. The noise of counts is relative, so that the residuals are of logarithms.


def residuals(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Logarithms of the populations less those of the counts, (n, 2)."""
    return model(batch["times"]).log() - batch["counts"].log()


torch.manual_seed(0)
times = torch.linspace(0, 15, 40, dtype=torch.float64)
with torch.no_grad():
    truth = LotkaVolterra(TRUE)(times)
counts = truth * torch.exp(NOISE * torch.randn_like(truth))

# %%
# The fit
# -------
# It begins 15 to 30 % off in every parameter.

start = TRUE * torch.tensor([1.2, 0.8, 0.85, 1.3, 1.2, 0.8], dtype=torch.float64)
model = LotkaVolterra(start)
with torch.no_grad():
    before = model(times)
batch = {"times": times, "counts": counts}
fit = revgn.fit(model, residuals=residuals, inputs=batch)
print(fit)

error = fit.standard_errors["log"]
found = model.log.detach().exp()
off = (found / TRUE).log() / error
print("          true   start    found  standard error")
for name, *row in zip(NAMES, TRUE.tolist(), start.tolist(), found.tolist(), error.tolist(), strict=True):
    print("  {:<5} {:7.3f} {:7.3f} {:8.4f} {:10.1%}".format(name, *row))
print("standard errors from the truth: " + ", ".join(f"{name} {x:.2f}" for name, x in zip(NAMES, off, strict=True)))

# %%
# The solution at the start, and the one that was found.

with torch.no_grad():
    fine = torch.linspace(0, 15, 400, dtype=torch.float64)
    after = model(fine)
figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharex=True)
for panel, name, index in zip(panels, ["hares", "lynxes"], range(2), strict=True):
    panel.plot(times, before[:, index], ":", color="gray", label="start")
    panel.plot(fine, after[:, index], color="tab:blue", label="fit")
    panel.plot(times, counts[:, index], ".", color="tab:red", label="counts")
    panel.set(title=name, xlabel="t")
panels[0].legend(frameon=False)
plt.show()
