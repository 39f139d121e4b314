"""
One exact step, and its certificate
===================================

A Gauss-Newton step is exact when it moves the outputs by what the loss asks for: J Delta = r. Five steps are taken on
handwritten digits, and each is checked against what the outputs really did.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

import revgn

# %%
# Data and network
# ----------------
# 256 of scikit-learn's digits, one-hot targets and squared error. The network is reversible; each of its layers has
# more features than there are rows, so that an exact step exists.

pixels, labels = load_digits(return_X_y=True)
inputs = torch.tensor(pixels[:256] / 16, dtype=torch.float64)
targets = torch.nn.functional.one_hot(torch.tensor(labels[:256]), 10).double()

generator = torch.Generator().manual_seed(0)
model = revgn.RevMLP(
    64, 10, num_blocks=2, hidden_features=600, state_features=128, dtype=torch.float64, generator=generator
)
optimizer = revgn.GaussNewton(model, revgn.losses.MSELoss())

# %%
# One small step
# --------------
# J is a derivative, so a short step shows best what it says. At a learning rate of 1e-4 the outputs move by r / 10,000
# up to terms of second order, row by row.

before = model(inputs).detach()
report = optimizer.backward(inputs, targets)
optimizer.param_groups[0]["lr"] = 1e-4
optimizer.step()
moved = (before - model(inputs).detach()) / 1e-4
residual = before - targets
print(report)
print(f"outputs moved by r up to {float((moved - residual).norm() / residual.norm()):.1e}, relative")

# %%
# Full steps
# ----------
# With a learning rate of 1 the residual is gone but for what the outputs bend along the step. The number of right
# digits then doubles from step to step.

optimizer.param_groups[0]["lr"] = 1.0
losses, defects = [], []
for _ in range(6):
    report = optimizer.backward(inputs, targets)
    losses.append(report.loss)
    defects.append(report.defect)
    optimizer.step()
print("loss   " + "  ".join(f"{loss:.0e}" for loss in losses))
print("defect " + "  ".join(f"{defect:.0e}" for defect in defects))
print(f"largest defect {max(defects):.1e}, last loss {losses[-1]:.1e}")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(residual.flatten(), moved.flatten(), ".", markersize=2)
left.axline((0, 0), slope=1, color="gray", linewidth=0.5)
left.set(xlabel="asked for: r", ylabel="what the outputs did", title="one step of 1e-4, 2,560 outputs")
right.semilogy(losses, "o-", label="loss")
right.semilogy(defects, "s:", label="defect ||J Delta - r|| / ||r||")
right.set(xlabel="step", title="six full steps")
right.legend(frameon=False)
plt.show()
