"""
A network that is only partly reversible
========================================

A convolution in front of a reversible network: exact Gauss-Newton steps for the one, Adam for the other, from the same
call of `backward`.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

import revgn

pixels, labels = load_digits(return_X_y=True)
images = torch.tensor(pixels / 16, dtype=torch.float64).view(-1, 1, 8, 8)
labels = torch.tensor(labels)
train, test = slice(0, 200), slice(200, None)

# %%
# Two optimizers
# --------------
# `params=` says which parameters are Gauss-Newton's. `backward` writes the change Delta into theirs, and the true
# gradients into all others. The right inverse "adjoint" asks for no reversibility of what comes before.

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), revgn.RevMLP(216, 10, num_blocks=2, hidden_features=400)
).double()
loss = revgn.losses.CrossEntropyLoss()
trunk = revgn.GaussNewton(model, loss, params=model[3].parameters(), right_inverse="adjoint")
stem = torch.optim.Adam(model[0].parameters(), lr=3e-3)

losses, moved = [], []
first = model[0].weight.detach().clone()
for _ in range(8):
    report = trunk.backward(images[train], labels[train])
    assert report.exact
    trunk.step()
    stem.step()
    losses.append(report.loss)
    moved.append(float((model[0].weight.detach() - first).norm() / first.norm()))
with torch.no_grad():
    accuracy = float((model(images[test]).argmax(1) == labels[test]).float().mean())
print("loss by step: " + ", ".join(f"{value:.1e}" for value in losses))
print(f"the convolution's weights moved by {moved[-1]:.1%}; test accuracy {accuracy:.3f}")

# %%
# The step is exact in the parameters that are its own: with the convolution held fixed their change moves the outputs
# by r. What Adam does to the convolution comes on top and is not accounted for, so its learning rate should be small.

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.semilogy(losses, "o-", label="loss")
axes.set(xlabel="step", ylabel="loss")
right = axes.twinx()
right.plot(moved, "s:", color="tab:orange", label="change of the convolution")
right.set_ylabel("relative change of the convolution")
figure.legend(frameon=False, loc="upper center")
plt.show()
