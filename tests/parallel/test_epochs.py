"""Epochs of mini-batches of images: as many processes as one likes end with the weights of one."""

import functools
import math
import warnings
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

import revgn
import revgn_lab.data
from parallel.worlds import run
from revgn_lab.data.downloads import SYSTEM_ROOT

EPOCHS = 3
ALL, SOME = 60_000, 4_000
# Rounding grows along training. Its yardstick is what one process makes of the same batches with their rows reversed:
# by the defaults of `RunningCurvature` on all rows in float32 9e-6 of the weights with GELU, but 4e-3 with ReLU, whose
# kinks make jumps of it, and 1e-4 on a tenth of the rows, or not. More damping makes it less.
IN_SINGLE, IN_DOUBLE = 1e-5, 1e-11

pytestmark = pytest.mark.nightly


class Method(NamedTuple):
    """Rows in a batch, options of the optimizer, and rows in all for two processes."""

    batch: int
    options: dict[str, Any]
    rows: int = ALL


CURVATURE = {"right_inverse": "adjoint", "solver": revgn.solvers.RunningCurvature(damping=0.3)}
METHODS = {
    "running curvature": Method(1024, CURVATURE | {"lr": 10.0}),
    "running curvature, momentum": Method(1024, CURVATURE | {"lr": 1.0, "momentum": 0.9}, rows=ALL // 5),
    "reversible, momentum": Method(
        256,
        {"lr": 0.05, "momentum": 0.9, "right_inverse": "reversible", "solver": revgn.solvers.Cholesky(damping=0.3)},
        rows=ALL // 10,  # whose steps are four times as many
    ),
}


def images(rows: int) -> tuple[Tensor, Tensor]:
    """Fashion-MNIST at a quarter of its pixels; digits where it cannot be had."""
    if not (SYSTEM_ROOT / "fashion-mnist").is_dir():
        digits = revgn_lab.data.load("digits")
        return digits.inputs.float(), digits.targets
    data = revgn_lab.data.load("fashion-mnist")
    pictures = data.inputs[:rows].unflatten(1, (1, 28, 28))
    return functional.avg_pool2d(pictures, 2).flatten(1), data.targets[:rows]


def trained(name: str, rows: int, dtype: torch.dtype, group: dist.ProcessGroup | None) -> tuple[Tensor, float]:
    """The weights in the end, in float64, and the last loss.

    Args:
        name: of the method.
        rows: of the data.
        dtype: of all that is computed.
        group: of processes that each take a part of every batch; None: this one takes all.
    """
    method = METHODS[name]
    inputs, classes = images(rows)
    inputs = inputs.to(dtype)
    generator = torch.Generator().manual_seed(0)
    model = revgn.RevMLP(
        inputs.shape[1],
        10,
        num_blocks=2,
        hidden_features=400,
        activation="gelu",
        first_activation="gelu",
        generator=generator,
        dtype=dtype,
    )
    optimizer = revgn.GaussNewton(model, revgn.losses.CrossEntropyLoss(), group=group, **method.options)
    batches = math.ceil(len(classes) / method.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * batches)
    index, count = (0, 1) if group is None else (group.rank(), group.size())
    order = torch.Generator().manual_seed(1)
    loss = math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damped steps are not exact
        for _ in range(EPOCHS):
            for batch in torch.randperm(len(classes), generator=order).split(method.batch):
                mine = batch.tensor_split(count)[index]
                loss = optimizer.backward(inputs[mine], classes[mine]).loss
                optimizer.step()
                schedule.step()
    return torch.cat([p.detach().flatten().double() for p in model.parameters()]), loss


@functools.cache
def by_one(name: str, rows: int, dtype: torch.dtype) -> Tensor:
    weights, loss = trained(name, rows, dtype, None)
    assert loss < 2.0, "it has learnt"  # log 10 at the start, 2.3
    return weights


def in_a_group(_: int, name: str, rows: int, dtype: torch.dtype) -> Tensor:
    return trained(name, rows, dtype, dist.group.WORLD)[0]


def apart(name: str, rows: int, dtype: torch.dtype, world: int) -> float:
    """How far the ends of so many processes, which are the same to the bit, are from that of one, relative."""
    first, *others = run(in_a_group, world, name, rows, dtype, seconds=140)
    assert isinstance(first, Tensor), first
    assert all(torch.equal(first, other) for other in others)
    one = by_one(name, rows, dtype)
    return float((first - one).norm() / one.norm())


@pytest.mark.parametrize("world", [2, 3, 8])
@pytest.mark.parametrize("name", METHODS)
def test_three_epochs_in_single_precision_end_with_the_same_weights(name: str, world: int) -> None:
    rows = METHODS[name].rows if world == 2 else SOME
    assert apart(name, rows, torch.float32, world) < IN_SINGLE


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_three_epochs_in_double_precision_end_with_the_same_weights(name: str, world: int) -> None:
    assert apart(name, SOME, torch.float64, world) < IN_DOUBLE
