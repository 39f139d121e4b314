"""
The tangent kernel of a convolutional network
=============================================

The tangent kernel K = J J^T of any module is one call. Its alignment says how much of it lies where the classes do:
training a small convolutional network on digits raises it.
"""

import copy

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

import revgn
from revgn.diagnostics import kernel_alignment, ntk_similarity

pixels, labels = load_digits(return_X_y=True)
images = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8)
labels = torch.tensor(labels)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Conv2d(8, 16, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(64, 10)
)

# %%
# The kernel of 60 rows
# ---------------------
# Row i d_out + a of K belongs to output a of row i. Weights that are shared over positions take part with all pairs of
# positions. Here the rows are ordered by class, and the mean over outputs is drawn.

probe = torch.cat([(labels[1000:] == digit).nonzero()[:6, 0] + 1000 for digit in range(10)])
one_hot = nn.functional.one_hot(labels[probe], 10).float()


def mean_kernel(network: nn.Module) -> torch.Tensor:
    """The mean over outputs of the blocks K[., a, ., a], (60, 60)."""
    kernel = revgn.Jacobian(network, images[probe]).gram()
    return torch.einsum("iaja->ij", kernel.view(60, 10, 60, 10)) / 10


begun = copy.deepcopy(model)
alignments = [kernel_alignment(model, images[probe], one_hot)]

# %%
# Training by Moore-Penrose steps
# -------------------------------
# 100 other rows, cross-entropy, with a line search.

optimizer = revgn.GaussNewton(model, revgn.losses.CrossEntropyLoss(), control=revgn.control.LineSearch())
for _ in range(8):
    report = optimizer.step(images[:100], labels[:100])
    alignments.append(kernel_alignment(model, images[probe], one_hot))
print("alignment by step: " + ", ".join(f"{value:.3f}" for value in alignments))
similarity = ntk_similarity(model, begun, images[probe]).value
print(f"last loss {report.new_loss:.1e}; similarity of the kernel to its start {similarity:.3f}")

figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for panel, network, title in zip(panels, (begun, model), ("at the start", "after training"), strict=False):
    panel.imshow(mean_kernel(network))
    panel.set(title=f"kernel {title}", xticks=range(3, 60, 6), xticklabels=range(10), yticks=[])
panels[2].plot(alignments, "o-")
panels[2].set(xlabel="step", title="alignment with the classes")
plt.show()
