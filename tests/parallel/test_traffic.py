"""What a step of several processes sends: counted, against a formula of the sizes alone."""

import itertools
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

import revgn
from collectives import Collectives
from networks import normal
from parallel.worlds import run
from revgn.losses import MSELoss

FLOAT = 8  # bytes
WIDTHS = (5, 70, 66, 3)  # inputs, hidden layers, outputs
ROWS = 48  # few enough to be certified all


def strips(rows: int, world: int) -> int:
    """Entries of the lower triangle of (rows, rows) that the busiest process forms, strip by strip."""
    step = -(-rows // (2 * world))
    stops = [min(start + step, rows) for start in range(0, rows, step)]
    turn = [*range(world), *reversed(range(world))]
    shares = [0] * world
    for index, stop in enumerate(stops):
        shares[turn[index % (2 * world)]] += (stop - index * step) * stop
    return max(shares)


def expected(world: int, index: int, refinements: int) -> dict[str, int]:
    """Bytes by operation, to one process, of a step of `MoorePenrose` that is refined so often."""
    d, layers = WIDTHS[-1], list(itertools.pairwise(WIDTHS))
    wide = [(p, q) for p, q in layers if p + 1 >= ROWS]  # their features are exchanged, those of others gathered
    narrow = [(p, q) for p, q in layers if p + 1 < ROWS]
    others = ROWS - ROWS // world
    once = 2 * d + 2 * d  # targets and outputs; outputs and J Delta of the certificate
    flag, plan = 8, 8 * (2 * len(layers) + 1)
    solved = 1 + refinements
    by_row = sum(p for p, _ in narrow) + sum(d * q for _, q in layers)  # features and cotangents, never J
    by_row += once + solved * (d + sum(q for _, q in wide))  # J Delta, and what wide layers are to move by
    columns = sum(-(-p // world) * q for p, q in wide)  # of changes, filled up to the most that a process has
    kernel = (world - 1) * strips(ROWS, world) * d * d
    summed = solved * sum((p + 1) * q for p, q in narrow) + len(wide) * ROWS**2
    return {
        "all_gather": (others * by_row + solved * (world - 1) * columns + kernel) * FLOAT,
        "all_reduce": summed * FLOAT + solved * 2 * flag + 5 * flag + plan,
        "all_to_all": others * sum(p // world + (index < p % world) for p, _ in wide) * FLOAT,
    }


def sent(index: int, right_inverse: str) -> tuple[dict[str, int], dict[str, int], bool]:
    """Bytes by operation as the optimizer counts them and as torch dispatches them; whether the step was exact."""
    world = dist.get_world_size()
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for p, q in itertools.pairwise(WIDTHS):
        layers += [nn.Linear(p, q), nn.Tanh()]
    model: nn.Module = nn.Sequential(*layers[:-1])
    if right_inverse == "reversible":
        model = revgn.RevMLP(WIDTHS[0], WIDTHS[-1], num_blocks=1, hidden_features=300, first_activation="relu")
    optimizer = revgn.GaussNewton(model.double(), MSELoss(), right_inverse=right_inverse, group=dist.group.WORLD)
    mine = slice(index * (ROWS // world), (index + 1) * (ROWS // world))
    processes: Any = optimizer.processes
    with Collectives() as collectives:
        report = optimizer.backward(normal(ROWS, WIDTHS[0])[mine], normal(ROWS, WIDTHS[-1], seed=1)[mine])
    return dict(processes.traffic), collectives.received, report.exact


@pytest.mark.parametrize("world", [2, 4])
def test_traffic_is_what_the_formula_says(world: int) -> None:
    for index, (traffic, dispatched, exact) in enumerate(run(sent, world, "moore-penrose")):
        assert exact
        assert dispatched == traffic
        assert traffic in [expected(world, index, refinements) for refinements in range(4)]


@pytest.mark.parametrize("right_inverse", ["adjoint", "reversible"])
def test_what_other_right_inverses_send_is_counted(right_inverse: str) -> None:
    for traffic, dispatched, exact in run(sent, 2, right_inverse):
        assert exact
        assert dispatched == traffic
