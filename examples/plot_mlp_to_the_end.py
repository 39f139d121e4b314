"""
An MLP to the last digit
========================

A plain MLP is fitted to 40 exact values of a function, by Levenberg-Marquardt in double precision. Gradient methods
lower such a loss for as long as one waits; second-order steps end.
"""

import copy

import matplotlib.pyplot as plt
import torch
from torch import nn

import revgn

torch.manual_seed(0)
x = torch.linspace(-1, 1, 40, dtype=torch.float64).unsqueeze(1)
y = torch.sin(4 * x) + 0.3 * x.square()

# %%
# More parameters than rows
# -------------------------
# 321 parameters for 40 values: the equation of a step is solved with the tangent kernel, (40, 40). Which matrix was
# solved stands in the fit's printout.

start = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1)).double()

model = copy.deepcopy(start)
optimizer = revgn.LevenbergMarquardt(model, geodesic=True)
fit = revgn.fit(model, inputs=x, targets=y, optimizer=optimizer, max_steps=200, tolerance=1e-13)
print(fit)
losses = [record["loss"] for record in fit.history]
print(f"largest error {float((model(x) - y).abs().max().detach()):.1e}, last loss {losses[-1]:.1e}")

# %%
# Beside Adam
# -----------
# 1,500 steps at a learning rate of 1e-2 that falls to zero by a cosine. A step of Adam is cheaper; both are drawn by
# step, so read the picture for where they end, not for how long they take.

rival = copy.deepcopy(start)
optimizer = torch.optim.Adam(rival.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
path = []
for _ in range(1500):
    optimizer.zero_grad()
    loss = 0.5 * (rival(x) - y).square().mean()
    loss.backward()
    optimizer.step()
    schedule.step()
    path.append(loss.item())
print(f"Adam: last loss {path[-1]:.1e}")

figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
axes.loglog(range(1, len(losses) + 1), losses, label="Levenberg-Marquardt")
axes.loglog(range(1, len(path) + 1), path, label="Adam")
axes.set(xlabel="step", ylabel="loss", title="40 values, 321 parameters, float64")
axes.legend(frameon=False)
plt.show()
