"""Steps of networks whose features lie in several processes, and what each process holds of them."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import revgn
from networks import normal, rev_mlp
from revgn.losses import CrossEntropyLoss, MSELoss
from tables import CONTROLS, REVERSIBLE, RIGHT_INVERSES, SOLVERS

TOLERANCE = 1e-12
STEPS = 3
BOTTLENECK = {name: case for name, case in REVERSIBLE.items() if "no bottleneck" not in name}


@dataclass(frozen=True)
class Case:
    """A network, its rows, and the options of its optimizer."""

    make: Callable[[], nn.Module]
    inputs: Callable[[], Tensor]
    d_out: int
    options: dict[str, Any] = field(default_factory=dict)
    judged: bool = False
    weighed: bool = False
    classes: bool = False


def small(n: int = 11, *, judged: bool = False, weighed: bool = False, classes: bool = False, **options: Any) -> Case:
    """Of 23 features, which no number of processes here divides; options of the network begin with `net_`."""
    made = {"num_blocks": 2, "hidden_features": 23, "activation": "relu", "first_activation": "relu", "init_std": 1e-2}
    made |= {name[4:]: value for name, value in options.items() if name.startswith("net_")}
    options = {name: value for name, value in options.items() if not name.startswith("net_")}
    return Case(lambda: rev_mlp(6, 3, **made), lambda: normal(n, 6), 3, options, judged, weighed, classes)


def cases() -> dict[str, Case]:
    moving = {"momentum": 0.9, "weight_decay": 1e-2}
    found = {"plain": small(**moving)}
    for blocks, bias, first in itertools.product((1, 2, 3), (True, False), ("identity", "tanh")):
        made = {"net_num_blocks": blocks, "net_bias": bias, "net_first_activation": first, "net_activation": "tanh"}
        found[f"{blocks} blocks, bias {bias}, first {first}"] = small(**moving, **made)
    for name in ("leaky_relu", "gelu", "silu", "softplus", "sin"):
        found[name] = small(**moving, net_activation=name, net_first_activation=name)
    found["linear throughout"] = small(net_activation="identity", net_first_activation="identity", block_weights="sum")
    found["an activation that works in place"] = small(net_activation=torch.tanh_, net_first_activation=torch.sinh)
    found["cross-entropy"] = small(classes=True, momentum=0.5, nesterov=True)
    found["spring"] = small(momentum=0.5, spring=True)
    found["weighed rows"] = small(weighed=True)
    found["features rebuilt, in chunks"] = small(keep_features=False, chunk_rows=4)
    found["more rows than features"] = small(40, weighed=True)
    found["Gram matrices of several tiles"] = small(270, net_hidden_features=802, net_first_activation="identity")
    for name, entry in RIGHT_INVERSES.items():
        if entry.right_inverse.takes_shards:
            found[name] = small(right_inverse=entry.right_inverse)
    for name, control in CONTROLS.items():
        if not name.startswith("ridge"):
            found[name] = small(judged=True, control=control, **moving)
    for name, entry in SOLVERS.items():
        if not entry.random:
            found[f"solver {name}"] = small(solver=entry.solver)
    for name, entry in BOTTLENECK.items():
        found[f"table, {name}"] = Case(entry.make, entry.inputs, entry.d_out)
    return found


def same(first: Any, second: Any) -> bool:
    """Whether two ends are the same to the bit, or one is an error."""
    if isinstance(first, str) or isinstance(second, str):
        return True
    return torch.equal(first[0], second[0]) and first[1] == second[1]


def plain(tensor: Tensor) -> Tensor:
    """All of a tensor, wherever it lies."""
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach()


def end(case: Case, mesh: Any, order: Any = slice(None)) -> tuple[Tensor, list[bool]]:
    """Losses, predictions, outputs, parameters and momentum after some steps, in one vector, and which were exact."""
    model, inputs = case.make(), case.inputs()
    n = len(inputs)
    targets = torch.arange(n) % case.d_out if case.classes else normal(n, case.d_out, seed=1)
    weights = 0.5 + torch.arange(n, dtype=torch.float64) % 3 / 2 if case.weighed else torch.ones(n).double()
    if mesh is not None:
        assert revgn.parallel.parallelize(model, mesh) is model
    loss = CrossEntropyLoss() if case.classes else MSELoss()
    optimizer = revgn.GaussNewton(model, loss, 0.1, **case.options)
    batch = inputs[order], targets[order], weights[order] if case.weighed else None
    seen: list[float] = []
    exact: list[bool] = []
    for _ in range(STEPS):
        try:
            report = optimizer.step(*batch) if case.judged else optimizer.backward(*batch)
        except FloatingPointError:  # some of these steps are too long for their networks: all have to see it
            exact.append(False)
            continue
        if not case.judged:
            optimizer.step()
        assert type(report.outputs) is Tensor
        # Where the step is not exact it is predicted from some rows, which are others in another order.
        seen += [report.loss, report.predicted_loss if report.exact and not case.weighed else 0.0]
        exact.append(report.exact)
    outputs = model(inputs)
    assert type(outputs.detach()) is Tensor
    held = [torch.tensor(seen).double(), plain(outputs), *map(plain, model.parameters())]
    held += [plain(s["momentum_buffer"]) for s in optimizer.state.values() if "momentum_buffer" in s]
    # Outputs of a step that was too long may be no numbers.
    return torch.cat([t.flatten() for t in held]).nan_to_num(0.0, 0.0, 0.0), exact


def gradient_error(mesh: Any) -> float:
    """How far the gradients of autograd are off those of the plain network."""
    made = small()
    models = made.make(), revgn.parallel.parallelize(made.make(), mesh)
    for model in models:
        (model(made.inputs()) - 1).square().sum().backward()
    pairs = zip(*(model.parameters() for model in models), strict=True)
    return max(float((plain(p.grad) - plain(q.grad)).abs().max()) for p, q in pairs)


def parts(mesh: Any) -> bool:
    """Whether of what is as wide as the features each process holds and moves no more than its columns."""
    model: Any = revgn.parallel.parallelize(small().make(), mesh)
    optimizer = revgn.GaussNewton(model, MSELoss(), 0.1, momentum=0.9)
    optimizer.backward(normal(11, 6), normal(11, 3, seed=1))
    optimizer.step()
    most = -(-23 // mesh.size())
    wide = [block.f.features.projection for block in model.blocks]
    for weight in (coupling.linear.weight for block in model.blocks for coupling in (block.f, block.g)):
        wide += [weight, weight.grad, optimizer.state[weight]["momentum_buffer"]]
    return all(tensor.shape == (3, 23) and tensor.to_local().shape[1] <= most for tensor in wide)


def shared(mesh: Any) -> bool:
    """Whether networks of several seeds become that of the first process, with what stays plain."""
    made = [rev_mlp(5, 3, state_features=8, hidden_features=23, seed=seed) for seed in range(mesh.size())]
    model: Any = revgn.parallel.parallelize(made[mesh.get_local_rank()], mesh)
    expected = rev_mlp(5, 3, state_features=8, hidden_features=23, seed=0).state_dict()
    return all(torch.equal(plain(tensor), expected[name]) for name, tensor in model.state_dict().items())


def from_nothing(mesh: Any) -> bool:
    """Whether a network made without values, never whole in any process, is the one whose state it is given."""
    expected = revgn.parallel.parallelize(small().make(), mesh)
    with torch.device("meta"):
        model = revgn.RevMLP(6, 3, num_blocks=2, hidden_features=23, first_activation="relu", dtype=torch.float64)
    revgn.parallel.parallelize(model, mesh).to_empty(device="cpu").load_state_dict(expected.state_dict())
    exact = revgn.GaussNewton(model, MSELoss()).backward(normal(11, 6), normal(11, 3, seed=1)).exact
    return exact and torch.equal(model(normal(11, 6)), expected(normal(11, 6)))
