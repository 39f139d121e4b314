"""Steps of which each process has some rows are the steps that one process takes of all of them.

REVGN_ALL_CASES=1 makes nightly tests of all cases for eight processes as well, of which a third are run otherwise: of
their time most goes into the collectives, forty a step, each of which has to wake every process several times.
"""

import itertools
import os
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


Entry = tuple[Any, Make, Any, bool]
"""A network and its rows, what makes the optimizer, a loss, and whether a control judges its steps."""


def end(entry: Entry, group: dist.ProcessGroup | None, mine: Any) -> Tensor:
    """Losses of some steps, and the parameters after them, where this process has these rows."""
    case, make, loss, judged = entry
    inputs = case.inputs()
    n = count_rows(inputs)
    targets = loss.targets(n, case.d_out)
    weights = 0.5 + torch.arange(n, dtype=torch.float64) % 3 / 2
    weights[-1] = 0.0  # a row that does not count
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


def shares_of(case: Any, world: int, number: int) -> list[slice]:
    """Uneven shares of the rows, some of them empty, others for each number."""
    n = count_rows(case.inputs())
    generator = torch.Generator().manual_seed(number)
    cuts = sorted(torch.randint(n + 1, (world - 1,), generator=generator).tolist())
    return [slice(a, b) for a, b in itertools.pairwise((0, *cuts, n))]


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


def some_of(part: int, parts: int) -> dict[str, tuple[int, Entry]]:
    """Every so many of the cases, with their numbers."""
    chosen = enumerate(cases().items())
    return {name: (number, entry) for number, (name, entry) in chosen if number % parts == part}


def all_ends(index: int, part: int, parts: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of some of the cases the end that this process comes to with its rows, or its error; of its share of them what
    one process comes to with all rows, and with the same rows in another order, which is what rounding makes of them.
    """
    world, together, alone = dist.get_world_size(), {}, {}
    for name, (number, entry) in some_of(part, parts).items():
        try:
            mine = shares_of(entry[0], world, number)[index]
            together[name] = end(entry, dist.group.WORLD, mine)
        except Exception as error:  # the next case may still be right
            together[name] = f"{type(error).__name__}: {error}"
    for place, (name, (_, entry)) in enumerate(some_of(part, parts).items()):
        if place % world == index:
            n = count_rows(entry[0].inputs())
            alone[name] = end(entry, None, slice(None)), end(entry, None, torch.arange(n - 1, -1, -1))
    return together, alone


def fault(ends: list[Any], one: Tensor, turned: Tensor) -> str | None:
    """What is wrong with the ends of the processes; None: nothing."""
    if errors := [each for each in ends if isinstance(each, str)]:
        return errors[0]
    if not all(torch.equal(ends[0], each) for each in ends):
        return "the processes have come to different ends"
    scale = one.norm().clamp_min(1e-3)
    off, rounding = float((ends[0] - one).norm() / scale), float((turned - one).norm() / scale)
    # Of what rounding may do one sample is known: another order of rows may come out several times as far off.
    return None if off <= max(TOLERANCE, 30 * rounding) else f"{off:.1e} from one process, rounding is {rounding:.1e}"


def nightly(world: int, parts: int, every: int = 1) -> list[Any]:
    """All parts of the cases, each a test of its own, or every so many of them."""
    chosen = range(0, parts, 1 if os.environ.get("REVGN_ALL_CASES") else every)
    return [pytest.param(world, part, parts, marks=pytest.mark.nightly) for part in chosen]


@pytest.mark.parametrize(
    ("world", "part", "parts"),
    [(2, 2, 8), *nightly(1, 1), *nightly(2, 1), *nightly(3, 2), *nightly(8, 6, every=3)],
)
def test_steps_are_those_of_one_process_and_the_same_to_the_bit_in_all(world: int, part: int, parts: int) -> None:
    found = run(all_ends, world, part, parts, seconds=120)
    assert all(isinstance(each, tuple) for each in found), found
    alone = {name: ends for _, share in found for name, ends in share.items()}
    assert set(alone) == set(some_of(part, parts))
    seen = {name: fault([together[name] for together, _ in found], *ends) for name, ends in alone.items()}
    assert not {name: wrong for name, wrong in seen.items() if wrong}
