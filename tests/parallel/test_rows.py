"""Steps of which each process has some rows are the steps that one process takes of all of them."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_map

import revgn
from parallel.worlds import run
from revgn.linear.functional import count_rows
from revgn.losses import MSELoss
from tables import ADJOINT, CONTROLS, LOSSES, REVERSIBLE, RIGHT_INVERSES, SOLVERS, ZOO

TOLERANCE = 1e-12
STEPS = 3

Make = Callable[[Any, dist.ProcessGroup | None], revgn.GaussNewton]


def taken(case: Any, make: Make, loss: Any, shares: list[slice], *, judged: bool = False) -> tuple[float, float, int]:
    """Steps of these rows by process beside those of one process.

    Returns:
        How far parameters and loss are off, relative; how far the same rows in another order are off in one process,
        which is what rounding makes of them; how many different ends the processes came to.
    """
    inputs = case.inputs()
    n = count_rows(inputs)
    targets = loss.targets(n, case.d_out)
    weights = 0.5 + torch.arange(n, dtype=torch.float64) % 3 / 2
    weights[-1] = 0.0  # a row that does not count

    def end(group: dist.ProcessGroup | None, mine: Any) -> Tensor:
        optimizer = make(case.make(), group)
        batch = tree_map(lambda leaf: leaf[mine], inputs), targets[mine], weights[mine]
        losses = torch.zeros(STEPS, dtype=torch.float64)
        for step in range(STEPS):
            try:
                report = optimizer.step(*batch) if judged else optimizer.backward(*batch)
            except FloatingPointError:  # some of these steps are too long for their networks: all have to see it
                losses[step:] = -1.0
                break
            losses[step] = report.loss
            if not judged:
                optimizer.step()
        return torch.cat([losses, *(p.detach().flatten() for p in optimizer.model.parameters())])

    one, turned = end(None, slice(None)), end(None, torch.arange(n - 1, -1, -1))
    many = end(dist.group.WORLD, shares[dist.get_rank()])
    ends: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ends, many)
    scale = one.norm().clamp_min(1e-3)
    different = len({tuple(each.tolist()) for each in ends})
    return float((many - one).norm() / scale), float((turned - one).norm() / scale), different


def shares_of(case: Any, world: int, number: int) -> list[slice]:
    """Uneven shares of the rows, some of them empty, others for each number."""
    n = count_rows(case.inputs())
    generator = torch.Generator().manual_seed(number)
    cuts = sorted(torch.randint(n + 1, (world - 1,), generator=generator).tolist())
    return [slice(a, b) for a, b in itertools.pairwise((0, *cuts, n))]


Entry = tuple[Any, Make, Any, bool]
"""A network and its rows, what makes the optimizer, a loss, and whether a control judges its steps."""


def cases() -> dict[str, Entry]:
    squared = LOSSES["squared"]
    mlp, reversible = ZOO["mlp"], next(iter(REVERSIBLE.values()))
    found: dict[str, Entry] = {}

    def add(name: str, case: Any, loss: Any = squared, judged: bool = False, **options: Any) -> None:
        def make(model: Any, group: Any) -> revgn.GaussNewton:
            return revgn.GaussNewton(model, loss.make(), 0.1, group=group, **options)

        found[name] = case, make, loss, judged

    for name, case in ZOO.items():
        add(f"{name}, moore-penrose", case, right_inverse="moore-penrose", momentum=0.9)
    for name, case in ADJOINT.items():
        add(f"{name}, adjoint", case, right_inverse="adjoint", momentum=0.9)
    for (name, case), (right, entry) in itertools.product(REVERSIBLE.items(), RIGHT_INVERSES.items()):
        if not entry.chunked:
            add(f"{name}, {right}", case, right_inverse=entry.right_inverse, momentum=0.9)
    for (name, entry), right in itertools.product(SOLVERS.items(), ("reversible", "adjoint", "moore-penrose")):
        if not entry.random and (entry.whole_jacobian or right != "moore-penrose"):
            add(f"{name}, {right}", reversible, right_inverse=right, solver=entry.solver)
    for (name, entry), right in itertools.product(LOSSES.items(), ("adjoint", "moore-penrose")):
        add(f"{name}, {right}", reversible, entry, right_inverse=right)
    for name, control in CONTROLS.items():
        add(name, mlp, judged=True, right_inverse="moore-penrose", control=control)
    add("spring", mlp, momentum=0.5, spring=True)
    for scaling, geodesic, name in itertools.product(("marquardt", "identity"), (False, True), ("mlp", "mlp, narrow")):

        def damped(model: Any, group: Any, scaling: Any = scaling, geodesic: bool = geodesic) -> revgn.GaussNewton:
            return revgn.LevenbergMarquardt(model, scaling=scaling, geodesic=geodesic, group=group)

        found[f"{name}, {scaling}, geodesic {geodesic}"] = ZOO[name], damped, squared, True

    def of_some(model: Any, group: Any) -> revgn.GaussNewton:
        return revgn.GaussNewton(model, MSELoss(), 0.1, params=list(model[0].parameters()), group=group)

    found["the other parameters by gradient"] = mlp, of_some, squared, False
    return found


def all_taken(index: int, every: int) -> dict[str, Any]:
    """What `taken` says of each case, or its error; of every so many of them."""
    found: dict[str, Any] = {}
    for number, (name, (case, make, loss, judged)) in enumerate(cases().items()):
        if number % every != dist.get_world_size() % every:  # other cases for each number of processes
            continue
        try:
            found[name] = taken(case, make, loss, shares_of(case, dist.get_world_size(), number), judged=judged)
        except Exception as error:  # the next case may still be right
            found[name] = f"{type(error).__name__}: {error}"
    return found


def nightly(*parameters: int) -> Any:
    return pytest.param(*parameters, marks=pytest.mark.nightly)


@pytest.mark.parametrize(
    ("world", "every"),
    [(2, 8), nightly(1, 4), nightly(2, 1), nightly(3, 3), nightly(8, 6)],
)
def test_steps_are_those_of_one_process_and_the_same_to_the_bit_in_all(world: int, every: int) -> None:
    (first, *_) = run(all_taken, world, every, seconds=120)
    assert len(first) >= len(cases()) // every
    wrong = {
        name: seen
        for name, seen in first.items()
        if isinstance(seen, str) or seen[0] > max(TOLERANCE, 10 * seen[1]) or seen[2] > 1
    }
    assert not wrong
