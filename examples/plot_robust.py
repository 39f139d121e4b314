"""
A fit with outliers
===================

A tenth of the points are wrong. Squared error follows them, a robust loss counts them less: the parameters are then
those of the good points.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import revgn

# %%
# A decay, and points that do not belong to it
# --------------------------------------------

torch.manual_seed(0)
TRUE, NOISE = (3.0, 0.8, 0.5), 0.08


class Decay(nn.Module):
    """a exp(-b t) + c, for t (n, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.ones((), dtype=torch.float64)) for _ in range(3))

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        return self.a * torch.exp(-self.b * t) + self.c


t = torch.linspace(0, 6, 80, dtype=torch.float64).unsqueeze(1)
clean = TRUE[0] * torch.exp(-TRUE[1] * t) + TRUE[2]
y = clean + NOISE * torch.randn_like(clean)
wrong = torch.randperm(80)[:8]
y[wrong] += 2 + torch.rand(8, 1, dtype=torch.float64)

# %%
# Four losses
# -----------
# `scale` is the residual from which on a point counts as lying far out: three standard deviations of the noise.
# Tukey's loss needs a good start, so its fit begins where Cauchy's ended.

fits: dict[str, Decay] = {}
for name in ("squared", "huber", "cauchy", "tukey"):
    model = Decay()
    loss = revgn.losses.MSELoss() if name == "squared" else revgn.losses.Robust(name, scale=3 * NOISE)
    if name == "tukey":
        model.load_state_dict(fits["cauchy"].state_dict())
    fit = revgn.fit(model, loss, t, y)
    fits[name] = model
    found = [p.item() for p in model.parameters()]
    off = max(abs(value - true) for value, true in zip(found, TRUE, strict=True))
    print(f"{name:<8} {fit.ending}: a {found[0]:.3f}, b {found[1]:.3f}, c {found[2]:.3f}; largest error {off:.3f}")

figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
axes.plot(t, y, ".", color="gray")
axes.plot(t[wrong], y[wrong], "x", color="tab:red", label="wrong by 2 to 3")
for name, model in fits.items():
    with torch.no_grad():
        axes.plot(t, model(t), label=name)
axes.set(xlabel="t")
axes.legend(frameon=False)
plt.show()
