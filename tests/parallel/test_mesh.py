"""Networks whose features lie in several processes: the steps, reports and checkpoints of the plain network."""

import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

import revgn
from networks import normal, rev_mlp
from parallel.mesh_steps import TOLERANCE, cases, end, from_nothing, gradient_error, parts, plain, same, shared, small
from parallel.mesh_traffic import Sizes, entries, sent
from parallel.worlds import run
from revgn.losses import MSELoss

# --- What is refused.


def refused(mesh: Any, grid: Any) -> dict[str, str]:
    """What is said of models and meshes that do not fit."""
    from torch.distributed.tensor import distribute_tensor

    plain_model, model = small().make(), revgn.parallel.parallelize(small().make(), mesh)
    fully: Any = small().make()
    other = distribute_tensor(fully.blocks[0].f.linear.weight.detach(), mesh)
    fully.blocks[0].f.linear.weight = nn.Parameter(other)
    parallelize = revgn.parallel.parallelize

    def gauss_newton(model: nn.Module = model, **options: Any) -> Any:
        return revgn.GaussNewton(model, MSELoss(), **options)

    attempts = {
        "a grid": lambda: parallelize(plain_model, grid),
        "twice": lambda: parallelize(model, mesh),
        "few features": lambda: parallelize(rev_mlp(6, 3, hidden_features=2), mesh),
        "an empty part": lambda: parallelize(rev_mlp(6, 3, hidden_features=5), mesh),
        "no bottleneck": lambda: parallelize(rev_mlp(6, 3, hidden_features=None), mesh),
        "not elementwise": lambda: parallelize(rev_mlp(6, 3, activation=nn.Softmax(dim=-1)), mesh),
        "adjoint": lambda: gauss_newton(right_inverse="adjoint"),
        "moore-penrose": lambda: gauss_newton(right_inverse="moore-penrose"),
        "levenberg-marquardt": lambda: revgn.LevenbergMarquardt(model, MSELoss()),
        "a group": lambda: gauss_newton(group=dist.group.WORLD),
        "other shards": lambda: gauss_newton(fully),
        "a jacobian": lambda: revgn.Jacobian(model, normal(4, 6)),
        "distributed inputs": lambda: model(distribute_tensor(normal(4, 6), mesh)),
    }
    said: dict[str, str] = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            said[name] = "nothing"
        except (TypeError, ValueError) as error:
            said[name] = str(error)
    unharmed = not any(hasattr(p, "full_tensor") for p in plain_model.parameters())
    return said | {"unharmed": str(unharmed)}


REFUSED = {
    "a grid": r"a mesh of shape \(2, \d\); features are sharded over one dimension.*mesh\['name'\]",
    "twice": r"blocks\.0\.f is distributed already; make the model anew",
    "few features": r"blocks\.0\.f has 2 features.*too few for \d processes.*a multiple of \d as hidden_features",
    "an empty part": r"blocks\.0\.f has 5 features, in parts of \d too few for \d processes",
    "no bottleneck": r"blocks\.0\.f has RandomFeatures without a bottleneck.*use RandomFeatures of some hidden",
    "not elementwise": r"the activation of blocks\.1\.f is not elementwise.*a name such as 'relu'",
    "adjoint": r"distributed over a mesh, and Adjoint needs them whole; use right_inverse='reversible'",
    "moore-penrose": r"distributed over a mesh, and MoorePenrose needs them whole; use right_inverse='reversible'",
    "levenberg-marquardt": r"distributed over a mesh, and MoorePenrose needs them whole",
    "a group": r"rows are to lie in several processes as well \(group=.*leave the group out",
    "other shards": r"a weight of blocks\.0 is a DTensor with placements.*use that in place of fully_shard",
    "a jacobian": r"blocks\.0\.f\.linear\.weight is a DTensor.*a Jacobian needs it whole; take that of the plain model",
    "distributed inputs": r"inputs is a DTensor; each process needs all rows as a plain tensor.*inputs\.full_tensor",
    "unharmed": "True",
}


# --- Checkpoints.


def trained(mesh: Any, seed: int) -> tuple[Any, Any]:
    """A network of that seed, and an optimizer that remembers."""
    model = rev_mlp(6, 3, num_blocks=2, hidden_features=23, seed=seed, first_activation="relu", init_std=1e-2)
    if mesh is not None:
        revgn.parallel.parallelize(model, mesh)
    return model, revgn.GaussNewton(model, MSELoss(), 0.1, momentum=0.9, weight_decay=1e-2)


def stepped(model: Any, optimizer: Any) -> list[Tensor]:
    """Outputs, and after one more step outputs, parameters and momentum."""
    found = [model(normal(11, 6)).detach()]
    optimizer.backward(normal(11, 6), normal(11, 3, seed=1))
    optimizer.step()
    found += [model(normal(11, 6)).detach(), *map(plain, model.parameters())]
    return found + [plain(optimizer.state[p]["momentum_buffer"]) for p in model.parameters()]


def saved(mesh: Any, folder: Path) -> list[Tensor]:
    model, optimizer = trained(mesh, seed=0)
    for _ in range(2):
        optimizer.backward(normal(11, 6), normal(11, 3, seed=1))
        optimizer.step()
    model_state, optimizer_state = get_state_dict(model, optimizer)
    dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=folder)
    return stepped(model, optimizer)


def loaded(mesh: Any, folder: Path) -> list[Tensor]:
    model, optimizer = trained(mesh, seed=1)
    model_state, optimizer_state = get_state_dict(model, optimizer)
    state = {"model": model_state, "optimizer": optimizer_state}
    group = None if mesh is None else mesh.get_group()
    dcp.load(state, checkpoint_id=folder, process_group=group, no_dist=mesh is None)
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    return stepped(model, optimizer)


# --- All of it in one world, for processes take long to start.


def everything(index: int, folder: Path, every: int) -> dict[str, Any]:
    """What each process has seen, on meshes of one to all of the processes; each mesh takes every so many cases."""
    from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

    world = dist.get_world_size()
    grid = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("copies", "features"))
    meshes = {
        "all": init_device_mesh("cpu", (world,)),
        "half, one of a grid": grid["features"],
        "three": DeviceMesh("cpu", [0, 1, 2]),
        "one": DeviceMesh("cpu", torch.arange(world).unsqueeze(1), mesh_dim_names=("copies", "features"))["features"],
    }
    found: dict[str, Any] = {"steps": {}, "meshes": list(meshes)}
    for number, (name, case) in enumerate(cases().items()):
        for turn, (where, mesh) in enumerate(meshes.items()):
            fits = mesh.size() <= 4 or not name.startswith("table")  # of too few features
            if (number + 5 * turn) % every == 0 and mesh.get_coordinate() is not None and fits:
                try:
                    found["steps"][name, where] = end(case, mesh)
                except Exception as error:  # the next case may still be right
                    found["steps"][name, where] = f"{type(error).__name__}: {error}"
    ends: list[Any] = [None] * world
    dist.all_gather_object(ends, found["steps"])
    # Each of them on another mesh too: those that took part came to the same end, to the bit.
    found["different"] = [key for key in ends[0] if not all(same(ends[0][key], e[key]) for e in ends if key in e)]
    found["gradient"] = gradient_error(meshes["all"])
    found["parts"] = parts(meshes["all"])
    found["from nothing"] = from_nothing(meshes["all"])
    found["shared"] = shared(meshes["half, one of a grid"])
    found["refused"] = refused(meshes["all"], grid)
    found["sent"] = sent(meshes["all"])
    found["saved"] = saved(meshes["all"], folder)
    for where in ("three", "half, one of a grid", "one"):
        if meshes[where].get_coordinate() is not None:
            found[f"loaded, {where}"] = loaded(meshes[where], folder)
    return found


pytestmark = pytest.mark.filterwarnings(
    "ignore:no block is surjective",  # on purpose
    "ignore:torch.distributed is disabled:UserWarning",  # by who loads a checkpoint in one process
)


def nightly(*parameter: int) -> Any:
    return pytest.param(parameter, marks=pytest.mark.nightly)


@pytest.fixture(scope="module", params=[(4, 27), nightly(4, 2), nightly(8, 8)], ids=str)
def world(request: Any, tmp_path_factory: Any) -> dict[str, Any]:
    processes, every = request.param
    folder = tmp_path_factory.mktemp("checkpoint")
    seen = run(everything, processes, folder, every, seconds=300)
    for each in seen:
        if isinstance(each, Exception):
            raise each
    return seen[0] | {"folder": folder, "processes": processes, "every": every}


def test_steps_are_those_of_the_plain_network_and_the_same_to_the_bit_in_all(world: dict[str, Any]) -> None:
    """To rounding, as much as the plain network's own steps are by it with the rows in another order."""
    assert len(world["steps"]) >= 3 * (len(cases()) // world["every"])
    assert world["different"] == []
    wrong: dict[str, Any] = {}
    for name, case in cases().items():
        seen = {where: world["steps"].get((name, where)) for where in world["meshes"]}
        if not any(seen.values()):
            continue
        one, exact = end(case, None)
        turned, _ = end(case, None, torch.arange(len(case.inputs()) - 1, -1, -1))
        scale = one.norm().clamp_min(1e-3)
        for where, found in seen.items():
            if isinstance(found, str):
                wrong[f"{name}, {where}"] = found
            elif found is not None:
                off, by_rounding = (float((each - one).norm() / scale) for each in (found[0], turned))
                if off > max(TOLERANCE, 10 * by_rounding) or found[1] != exact:
                    wrong[f"{name}, {where}"] = off, by_rounding, exact, *found[1:]
    assert not wrong


def test_gradients_are_those_of_the_plain_network(world: dict[str, Any]) -> None:
    assert world["gradient"] < 1e-12


def test_each_process_holds_its_columns_alone(world: dict[str, Any]) -> None:
    assert world["parts"]


def test_all_processes_begin_with_what_the_first_one_holds(world: dict[str, Any]) -> None:
    assert world["shared"]


def test_a_network_may_be_made_without_values_and_loaded(world: dict[str, Any]) -> None:
    assert world["from nothing"]


def test_what_does_not_fit_is_refused_and_left_as_it_was(world: dict[str, Any]) -> None:
    assert world["refused"].keys() == REFUSED.keys()
    for name, said in world["refused"].items():
        assert re.search(REFUSED[name], said), (name, said)


def test_a_step_sends_gram_matrices_and_products_with_the_weights_and_nothing_as_wide_as_features(
    world: dict[str, Any],
) -> None:
    sizes = Sizes(300, 12, 3, 2, 2, 24), Sizes(300, 12, 3, 3, 2, 24)
    for (gradient, step), of in zip(world["sent"], sizes, strict=True):
        assert {name for name, _ in (*gradient, *step)} == {"all_reduce"}
        assert Counter({shape: count for (_, shape), count in gradient.items()}) == of.of_gradient
        found = Counter({shape: count for (_, shape), count in step.items()})
        assert found in [of.of_step(*refined) for refined in itertools.product(range(4 * of.solved), range(4))]


def test_the_traffic_of_a_step_of_a_large_network_beside_that_of_a_gradient() -> None:
    """By formula: a step of one block sends less; one of all surjective blocks their Gram matrices besides."""
    # Few rows, as many as the state is wide, and of all blocks but the first, which is linear, or of the last alone.
    for rows, solved, most in ((1024, 3, 1.6), (1024, 1, 0.9), (256, 3, 1.35), (256, 1, 0.8)):
        sizes = Sizes(rows, 392, 10, 4, solved, 32)
        assert entries(sizes.of_step()) / entries(sizes.of_gradient) < most, (rows, solved)


def test_checkpoints_are_loaded_on_other_numbers_of_processes(world: dict[str, Any]) -> None:
    ways = {name: found for name, found in world.items() if name.startswith("loaded")}
    assert len(ways) == 3
    for name, found in (ways | {"plain": loaded(None, world["folder"])}).items():
        for expected, tensor in zip(world["saved"], found, strict=True):
            torch.testing.assert_close(tensor, expected, rtol=1e-10, atol=1e-10, msg=name)


def test_other_modules_and_meshes_are_refused() -> None:
    mesh: Any = None
    with pytest.raises(TypeError, match=r"model is a Linear, not a .*ReversibleNetwork.*GaussNewton.*group="):
        revgn.parallel.parallelize(nn.Linear(2, 2), mesh)
    with pytest.raises(TypeError, match=r"mesh is a NoneType; expected torch.distributed.init_device_mesh"):
        revgn.parallel.parallelize(rev_mlp(), mesh)
