"""
Cross-entropy wants longer and longer steps
===========================================

The minimum of cross-entropy lies at infinity: full steps of fixed length come to a crawl. `LineSearch` doubles the
step while the loss falls, and halves it where it does not.
"""

import copy

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

import revgn

pixels, labels = load_digits(return_X_y=True)
inputs, labels = torch.tensor(pixels[:300] / 16, dtype=torch.float64), torch.tensor(labels[:300])

generator = torch.Generator().manual_seed(0)
start = revgn.RevMLP(
    64, 10, num_blocks=2, hidden_features=600, state_features=128, dtype=torch.float64, generator=generator
)

# %%
# Two controls
# ------------
# `step(inputs, targets)` is forward, backward, step and judgement in one. The report says which multiple of the full
# step was taken. Both have the same right inverse and the same loss.

paths: dict[str, list[float]] = {}
lengths: list[float] = []
for name, control in (("Fixed", revgn.control.Fixed()), ("LineSearch", revgn.control.LineSearch())):
    model = copy.deepcopy(start)
    optimizer = revgn.GaussNewton(model, revgn.losses.CrossEntropyLoss(), control=control)
    reports = [optimizer.step(inputs, labels) for _ in range(8)]
    paths[name] = [reports[0].loss, *(report.new_loss for report in reports)]
    print(f"{name:<11}" + "  ".join(f"{loss:.0e}" for loss in paths[name]))
    if name == "LineSearch":
        lengths = [report.length for report in reports]
print("lengths     " + ", ".join(f"{length:g}" for length in lengths))
print(f"last losses: {paths['Fixed'][-1]:.1e} and {paths['LineSearch'][-1]:.1e}")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for name, path in paths.items():
    left.semilogy(path, "o-", label=name)
left.set(xlabel="step", ylabel="loss")
left.legend(frameon=False)
right.semilogy(range(1, 9), lengths, "o-", color="tab:orange", base=2)
right.set(xlabel="step", title="length of the step, of the full one")
plt.show()
