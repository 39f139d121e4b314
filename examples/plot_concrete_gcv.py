"""
Strength of concrete: how much to fit
=====================================

A network of 4,801 parameters learns the strength of concrete from some hundred mixtures. Fitted to the end it learns
their noise too. Ridge regression at every step, its strength chosen by generalised cross-validation, needs no
validation rows.
"""

import copy
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import revgn
import revgn_lab.data

# The short run, of seconds, takes 300 of the 824 training rows and two networks; REVGN_LONG_EXAMPLES=1 takes all rows,
# eight networks and more steps: 75 s on one core.
LONG = "REVGN_LONG_EXAMPLES" in os.environ
NETWORKS = 8 if LONG else 2
FIRST, PLAIN, GCV = (8, 60, 15) if LONG else (8, 30, 15)  # steps

# %%
# The data
# --------
# 1,030 mixtures of eight columns; a fifth of them is for testing. Inputs and target come standardised by the training
# rows. Needs the extra `revgn[data]`.

data = revgn_lab.data.load("concrete", dtype=torch.float64)
unit = float(data.target_scale)  # of the target, in MPa
inputs, targets = (data.inputs, data.targets) if LONG else (data.inputs[:300], data.targets[:300])
print(f"{len(inputs)} rows for training, {len(data.test_inputs)} for testing, {data.in_features} columns")


def network(seed: int) -> nn.Module:
    """An MLP d-64-64-1 with tanh."""
    torch.manual_seed(seed)
    layers = [nn.Linear(data.in_features, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)]
    return nn.Sequential(*layers).double()


def rmse(outputs: torch.Tensor) -> float:
    """Root mean square error of the test rows, in MPa."""
    return unit * float((outputs - data.test_targets).square().mean().sqrt())


# %%
# Both ways
# ---------
# Plain Levenberg-Marquardt lowers the loss of the training rows for as long as it can. With damping="gcv" each step is
# a ridge regression on the tangent features, of the strength that would best predict rows left out. That picture is
# right near a fit, and wrong at random weights: the first steps, the same for both, are plain ones.


def run(model: nn.Module, damping: str | None, steps: int, errors: list[float]) -> revgn.Fit:
    """Fit the model, and note the test error after each step."""

    def follow(report: revgn.Report) -> None:
        with torch.no_grad():
            errors.append(rmse(model(data.test_inputs)))

    optimizer = revgn.LevenbergMarquardt(model, damping=damping)
    return revgn.fit(model, inputs=inputs, targets=targets, optimizer=optimizer, max_steps=steps, callbacks=[follow])


names = ["plain", "gcv"]
fits: dict[str, list[revgn.Fit]] = {name: [] for name in names}
paths: dict[str, list[list[float]]] = {name: [] for name in names}
seconds = dict.fromkeys(names, 0.0)
for seed in range(NETWORKS):
    begun, first = network(seed), []
    run(begun, None, FIRST, first)
    for name, damping, steps in (("plain", None, PLAIN), ("gcv", "gcv", GCV)):
        errors = list(first)
        fit = run(copy.deepcopy(begun), damping, steps, errors)
        fits[name].append(fit)
        paths[name].append(errors)
        seconds[name] += fit.seconds
print(fits["gcv"][0])

# %%
# What the test rows say
# ----------------------
# The mean of the networks' predictions is better than each of them.


def together(models: list[nn.Module]) -> float:
    """Test error of the mean prediction."""
    with torch.no_grad():
        return rmse(torch.stack([model(data.test_inputs) for model in models]).mean(0))


print("test RMSE in MPa    mean of networks   their mean prediction   training loss   seconds")
for name in names:
    each = sum(path[-1] for path in paths[name]) / NETWORKS
    loss = sum(fit.loss for fit in fits[name]) / NETWORKS
    mean = together([fit.model for fit in fits[name]])
    print(f"  {name:<8} {each:24.2f} {mean:23.2f} {loss:15.1e} {seconds[name]:9.0f}")
best = sum(min(path) for path in paths["plain"]) / NETWORKS
print(f"plain at its best step, which only the test rows tell: {best:.2f}")
effective = [fit.report.effective_parameters for fit in fits["gcv"] if fit.report is not None]
count = sum(p.numel() for p in fits["gcv"][0].model.parameters())
print(f"effective parameters by GCV: {min(effective):.0f} to {max(effective):.0f} of {count}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for name, colour in zip(names, ["tab:red", "tab:blue"], strict=True):
    for index, path in enumerate(paths[name]):
        label = name if index == 0 else None
        left.semilogy(range(1, len(path) + 1), path, color=colour, alpha=0.7, linewidth=1, label=label)
left.axvline(FIRST, color="gray", linewidth=0.5)
left.set(xlabel="step", ylabel="test RMSE (MPa)", title="with and without a ridge")
left.legend(frameon=False)
with torch.no_grad():
    predicted = torch.stack([fit.model(data.test_inputs) for fit in fits["gcv"]]).mean(0)
truth, told = data.in_original_units(data.test_targets), data.in_original_units(predicted)
right.plot(truth, told, ".", color="tab:blue")
right.axline((40, 40), slope=1, color="gray", linewidth=0.5)
right.set(xlabel="measured strength (MPa)", ylabel="predicted", title=f"test rows, mean of {NETWORKS} networks, gcv")
plt.show()
