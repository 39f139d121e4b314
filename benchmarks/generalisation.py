"""Why does the choice of right inverse decide how well a network generalises?

    python benchmarks/generalisation.py [norm layers truncation width] [--seeds 0 1 2] [--plot docs]

1024 rows of Fashion-MNIST (digits where it cannot be had) at once, RevMLP with two blocks of 2000 features, squared
error on one-hot labels, float32, learning rate 1, from the same starts: training until the loss is at most 1e-3 or six
steps are taken. One thing is changed at a time:

- norm: of all changes that move the outputs by r the step takes that with the smallest sum over layers of
  ||(Phi^T Phi)^(s/2) Delta||^2, from s = 0, Moore-Penrose, to s = 1, where what each layer moves is small, as by the
  adjoint. Beside it the talk's right inverse, and Adam (1e-3, 200 steps).
- layers: the second block alone may move, without the first, which is linear in the inputs.
- truncation: the talk's, singular values of the features below a share of the largest dropped; and damping of J^+.
- width: 1,200 and 4,000 features.

`change` is ||Delta|| of all steps together, from the start to the end, `moved` the root of the sum over layers of the
mean over training rows of ||Phi Delta||^2 of the same.
"""

import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

import problems
import revgn
from figures import generalisation_figure
from problems import Problem
from results import Benchmark, Check, Column, Result, Row, at_least, at_most, require_known
from revgn.losses import MSELoss
from revgn.solvers import Cholesky, Eigh
from whitening import Whitened

GONE = 1e-3
STEPS = 6
ADAM_STEPS, ADAM_RATE = 200, 1e-3
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
MOORE_PENROSE = {"right_inverse": "moore-penrose"}
NETWORK: Mapping[str, Any] = {"num_blocks": 2, "hidden_features": 2000}


@dataclass(frozen=True)
class Setting:
    """What is changed.

    Attributes:
        options: of `GaussNewton`; None: Adam.
        network: of the network.
        block: the only one that may move; None for all.
        steps: the most.
    """

    options: Mapping[str, Any] | None
    network: Mapping[str, Any] = field(default_factory=dict[str, Any])
    block: int | None = None
    steps: int = STEPS


PARTS: Mapping[str, Mapping[str, Setting]] = {
    "norm": {f"s = {s:g}": Setting({"right_inverse": Whitened(power=s)}) for s in POWERS}
    | {"reversible": Setting({}), "Adam": Setting(None, steps=ADAM_STEPS)},
    "layers": {
        "moore-penrose, second block": Setting(MOORE_PENROSE, block=1),
        "reversible, second block": Setting({}, block=1),
    },
    "truncation": {
        f"reversible, below {rtol:g}": Setting({"solver": Eigh(rtol=rtol), "block_weights": "uniform"})
        for rtol in (1e-2, 3e-2)
    }
    | {
        f"moore-penrose, damping {damping:g}": Setting(MOORE_PENROSE | {"solver": Cholesky(damping=damping)})
        for damping in (1e-2, 1e-1)
    },
    "width": {
        f"{name}, h {width}": Setting(options, {"hidden_features": width})
        for width in (1200, 4000)
        for name, options in {"reversible": {}, "moore-penrose": MOORE_PENROSE}.items()
    },
}
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("part", "part", width=11),
        Column("setting", "setting", width=30),
        Column("steps", "steps", "d", 5),
        Column("loss", "train loss", ".1e", 10),
        Column("accuracy", "test acc.", ".3f"),
        Column("lowest", "from", ".3f", 6),
        Column("highest", "to", ".3f", 6),
        Column("change", "change", ".2f", 7),
        Column("moved", "moved", ".2f", 7),
    ],
    generalisation_figure,
)


def measured(part: str, name: str, rows: int, scale: float, seeds: Sequence[int]) -> Row:
    """A setting, with the course of every seed."""
    runs = [trained(PARTS[part][name], rows, scale, seed) for seed in seeds]
    row: Row = {"part": part, "setting": name, "power": _power(PARTS[part][name]), "runs": runs}
    for key in ("loss", "accuracy", "change", "moved"):
        row[key] = statistics.mean(run[key] for run in runs)
    accuracies = [run["accuracy"] for run in runs]
    row |= {"steps": max(run["steps"] for run in runs), "lowest": min(accuracies), "highest": max(accuracies)}
    BENCHMARK.show([row])
    return row


def trained(setting: Setting, rows: int, scale: float, seed: int) -> Row:
    """Where training from one start ends."""
    network = NETWORK | setting.network
    network = network | {"hidden_features": int(scale * network["hidden_features"])}
    problem = problems.image_problem(rows, seed=seed, loss=MSELoss(), **network)
    if setting.block is not None:
        problem.model.requires_grad_(False)
        problem.model.blocks[setting.block].requires_grad_(True)
    before = {name: p.detach().clone() for name, p in problem.model.named_parameters()}
    if setting.options is None:
        step = problem.gradient(Adam(problem.model.parameters(), lr=ADAM_RATE, fused=True))
    else:
        step = problem.gauss_newton(**setting.options)
    taken = 0
    while taken < setting.steps and (setting.options is None or problems.training_loss(problem) > GONE):
        step()
        taken += 1
    data = problems.images(rows, seed)
    accuracy = problems.accuracy(problem.model, data.test_inputs, data.test_targets)
    loss = problems.training_loss(problem)
    return {"seed": seed, "steps": taken, "loss": loss, "accuracy": accuracy} | lengths(problem, before)


@torch.no_grad()
def lengths(problem: Problem, before: Mapping[str, Tensor]) -> Row:
    """How far the parameters have gone, and how far that alone moves what each layer gives for the training rows."""
    model = problem.model
    seen: dict[str, Tensor] = {}
    couplings = {name: module for name, module in model.named_modules() if isinstance(module, revgn.nn.Coupling)}
    hooks = [
        module.linear.register_forward_hook(lambda _, given, __, name=name: seen.__setitem__(name, given[0]))
        for name, module in couplings.items()
    ]
    model(problem.inputs)
    for hook in hooks:
        hook.remove()
    changes = {name: p - before[name] for name, p in model.named_parameters()}
    moved = [
        features @ changes[f"{name}.linear.weight"].mT + changes[f"{name}.linear.bias"]
        for name, features in seen.items()
    ]
    return {
        "change": float(sum(float(c.double().square().sum()) for c in changes.values()) ** 0.5),
        "moved": float(sum(float(m.double().square().sum(1).mean()) for m in moved) ** 0.5),
    }


def _power(setting: Setting) -> float | None:
    inverse = (setting.options or {}).get("right_inverse")
    return inverse.power if isinstance(inverse, Whitened) else None


def checks(rows: Sequence[Row]) -> list[Check]:
    """What the interventions show, where they were made."""
    accuracy = {row["setting"]: row["accuracy"] for row in rows}

    def gap(first: str, second: str) -> float | None:
        return accuracy[first] - accuracy[second] if {first, second} <= accuracy.keys() else None

    return [
        at_least("test accuracy: s = 0 above s = 1", gap("s = 0", "s = 1"), 0.15),
        at_most("test accuracy: Adam above s = 0", gap("Adam", "s = 0"), 0.03),
        at_least("test accuracy: truncated above exact reversible", gap("reversible, below 0.01", "reversible"), 0.1),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")
    arguments = parser.parse_args(argv)
    require_known(parser, "part", arguments.parts, PARTS)
    rows, scale = (48, 0.1) if arguments.tiny else (1024, 1.0)

    def measure_all() -> Result:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="no .* is surjective")  # the truncated ones never are
            found = [
                measured(part, name, rows, scale, arguments.seeds)
                for part in arguments.parts or PARTS
                for name in PARTS[part]
            ]
        return Result(found, [] if arguments.tiny else checks(found))

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
