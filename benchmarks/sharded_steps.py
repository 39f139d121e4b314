"""Steps of one network in one of several processes, whose rows or features are sharded; the values do not matter."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

import problems
import revgn
from revgn.losses import MSELoss
from revgn.solvers import Cholesky

DAMPING = 1e3  # of rows that are all alike: half of what a step should move is left

Way = tuple[str, str]
"""What is sharded, "rows" or "features", and the step: "gradient", or a right inverse."""

WAYS: Sequence[Way] = [
    ("rows", "gradient"),
    ("rows", "reversible"),
    ("rows", "adjoint"),
    ("rows", "moore-penrose"),
    ("features", "gradient"),
    ("features", "reversible"),
]


@dataclass(frozen=True)
class Sizes:
    """Rows n, features h, and how many processes there are at most: each with two rows, that strips be equally long."""

    rows: int
    in_features: int
    hidden: int
    most: int


def step_of(way: Way, sizes: Sizes, world: int) -> tuple[nn.Module, Callable[[], object]]:
    """The model of a process, and its step; the group has been started."""
    sharded, method = way
    torch.manual_seed(0)
    outputs = 1 if method == "moore-penrose" else problems.CLASSES
    model = revgn.RevMLP(
        sizes.in_features, outputs, num_blocks=2, hidden_features=sizes.hidden, first_activation="relu"
    )
    rows = sizes.rows // world if sharded == "rows" else sizes.rows
    # Of the same row again and again, so that the rows of others are one's own.
    inputs, targets = torch.randn(1, sizes.in_features).repeat(rows, 1), torch.randn(1, outputs).repeat(rows, 1)
    if sharded == "features":
        revgn.parallel.parallelize(model, init_device_mesh("cpu", (world,)))
    if method == "gradient":
        return model, gradient(model, inputs, targets, summed=sharded == "rows" and world > 1)
    options: dict[str, Any] = {"block_weights": "uniform"} if method == "reversible" else {}
    group = dist.group.WORLD if sharded == "rows" else None
    solver = Cholesky(damping=DAMPING)
    problem = problems.Problem(model, inputs, targets, MSELoss())
    take = problem.gauss_newton(lr=1e-6, right_inverse=method, solver=solver, group=group, **options)

    def step() -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "no affine layer is surjective")  # of rows that are all alike
            take()

    return model, step


def gradient(model: nn.Module, inputs: Tensor, targets: Tensor, *, summed: bool) -> Callable[[], None]:
    """A step of SGD; where rows are sharded gradients are summed up, as data parallelism does."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)

    def step() -> None:
        optimizer.zero_grad()
        problems.squared_error(model(inputs), targets).backward()
        for parameter in model.parameters() if summed else ():
            dist.all_reduce(parameter.grad)
        optimizer.step()

    return step
