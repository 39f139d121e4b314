"""Which right inverse generalises?

    python benchmarks/right_inverses.py [generalise fit] [--seeds 0 1 2] [--pairs 3] [--plot docs]

- generalise: 1024 rows of Fashion-MNIST (digits where it cannot be had) at once, RevMLP with two blocks of 2000
  features, squared error on one-hot labels, float32, learning rate 1. Training loss and test accuracy after every step,
  until the loss is gone, and how far J Delta was from r; Adam from the same start, every 20 steps. `truncated` is the
  authors' step: all blocks alike, singular values below 1e-2 of the largest dropped. Seconds are taken in turns.
- fit: a plain MLP, 784-2048-2048-10, on the same rows: how many steps until the loss is at most 1e-8.
"""

import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam

import measure
import problems
import revgn
from figures import right_inverses_figure
from measure import Step, Times
from problems import Problem
from results import Benchmark, Check, Column, Result, Row, at_least, at_most, require_known
from revgn.losses import MSELoss
from revgn.solvers import Eigh
from revgn.solvers.solver import EXACT

REVERSIBLE, ADJOINT, MOORE_PENROSE, TRUNCATED, ADAM = "reversible", "adjoint", "moore-penrose", "truncated", "Adam"
METHODS: Mapping[str, dict[str, Any]] = {
    REVERSIBLE: {},
    ADJOINT: {"right_inverse": "adjoint"},
    MOORE_PENROSE: {"right_inverse": "moore-penrose"},
    TRUNCATED: {"solver": Eigh(rtol=1e-2), "block_weights": "uniform"},
}
GONE = 1e-8  # the training loss at which there is nothing left to fit
ADAM_RATE = 1e-3
STILL = 1e-6  # a learning rate too small to lead anywhere, for the clock
FULL: Mapping[str, Any] = {
    "rows": 1024,
    "network": {"num_blocks": 2, "hidden_features": 2000},
    "steps": 6,
    "adam": 200,
    "widths": (2048, 2048),
    "fit_steps": 12,
}
TINY: Mapping[str, Any] = {
    "rows": 48,
    "network": {"num_blocks": 2, "hidden_features": 200},
    "steps": 2,
    "adam": 40,
    "widths": (80, 80),
    "fit_steps": 4,
}
EVERY = 20  # of Adam's steps one is looked at
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("part", "part", width=10),
        Column("setting", "setting", width=19),
        Column("method", "method", width=13),
        Column("steps", "steps", "d", 5),
        Column("loss", "train loss", ".1e", 10),
        Column("accuracy", "test acc.", ".3f"),
        Column("lowest", "from", ".3f", 6),
        Column("highest", "to", ".3f", 6),
        Column("defect", "defect", ".0e", 6),
        Column("exact_steps", "exact", width=6),
        Column("seconds", "s/step", ".3f", 7),
        Column("ratio", "of SGD", ".2f", 7),
    ],
    right_inverses_figure,
)


def generalise(sizes: Mapping[str, Any], seeds: Sequence[int], pairs: int) -> list[Row]:
    """A row for each method, with the course of every seed."""
    times = paced(image_problem(sizes, seeds[0]), pairs)
    found: list[Row] = []
    for method in (*METHODS, ADAM):
        runs = [trained(method, sizes, seed) for seed in seeds]
        row = {"part": "generalise", "setting": problems.images(sizes["rows"], seeds[0]).name, "method": method}
        found.append(row | timing(times[method], times["SGD"]) | summary(runs) | {"runs": runs})
        BENCHMARK.show(found[-1:])
    return found


def image_problem(sizes: Mapping[str, Any], seed: int) -> Problem:
    """The rows and the network of a seed."""
    return problems.image_problem(sizes["rows"], seed=seed, loss=MSELoss(), **sizes["network"])


def paced(problem: Problem, pairs: int) -> dict[str, Times]:
    """Seconds of a step of each method, all on one network at its start, in turns."""
    forward = problems.plain_forward(problem.model)
    steps: dict[str, Step] = {name: problem.gauss_newton(lr=STILL, **options) for name, options in METHODS.items()}
    for name, kind in {"SGD": SGD, ADAM: Adam}.items():
        steps[name] = problem.gradient(kind(problem.model.parameters(), lr=1e-9, fused=True), forward)
    for step in steps.values():
        step()
    return measure.in_turns(steps, pairs)


def trained(method: str, sizes: Mapping[str, Any], seed: int) -> list[Row]:
    """Loss on all training rows and accuracy on all test rows, at the start and as training goes on."""
    problem, data = image_problem(sizes, seed), problems.images(sizes["rows"], seed)

    def looked(step: int, report: revgn.Report | None = None) -> Row:
        accuracy = problems.accuracy(problem.model, data.test_inputs, data.test_targets)
        return {"step": step, "loss": problems.training_loss(problem), "accuracy": accuracy, **told(report)}

    if method == ADAM:
        step = problem.gradient(Adam(problem.model.parameters(), lr=ADAM_RATE, fused=True))
        found = [looked(0)]
        for count in range(1, sizes["adam"] + 1):
            step()
            if count % EVERY == 0:
                found.append(looked(count))
        return found
    return course(problem.gauss_newton(**METHODS[method]), sizes["steps"], looked)


def course(step: Callable[[], revgn.Report], most: int, looked: Callable[..., Row]) -> list[Row]:
    """What is seen at the start and after every Gauss-Newton step, until the loss is gone or a step fails."""
    found = [looked(0)]
    for count in range(1, most + 1):
        try:
            report = step()
        except FloatingPointError as error:
            found[-1]["failure"] = str(error)
            break
        found.append(looked(count, report))
        if found[-1]["loss"] <= GONE:
            break
    return found


def told(report: revgn.Report | None) -> Row:
    """What a step tells of its exactness; nothing at the start and for Adam."""
    if report is None:
        return {"defect": None, "exact": None}
    return {"defect": report.defect, "exact": report.exact}


def summary(runs: Sequence[Sequence[Row]]) -> Row:
    """Where the runs ended, and the worst of their steps."""
    last = [run[-1] for run in runs]
    accuracies = [each["accuracy"] for each in last]
    defects = [point["defect"] for run in runs for point in run if point["defect"] is not None]
    exact = [point["exact"] for run in runs for point in run if point["exact"] is not None]
    return {
        "steps": max(each["step"] for each in last),
        "loss": statistics.mean(each["loss"] for each in last),
        "accuracy": statistics.mean(accuracies),
        "lowest": min(accuracies),
        "highest": max(accuracies),
        "defect": max(defects, default=None),
        "exact_steps": f"{sum(exact)}/{len(exact)}" if exact else None,
    }


def timing(times: Times, baseline: Times) -> Row:
    """Seconds, and the ratio to the baseline pair by pair."""
    ratios = times.ratios(baseline)
    return {"seconds": times.median, "ratio": ratios.median, "ratio_spread": ratios.spread}


def fit(sizes: Mapping[str, Any], seeds: Sequence[int], pairs: int) -> list[Row]:
    """A row for each right inverse that a plain MLP has."""
    data = problems.images(sizes["rows"], seeds[0])
    widths = (data.in_features, *sizes["widths"], problems.CLASSES)

    def problem() -> Problem:
        model = problems.mlp(widths, activation=nn.ReLU, seed=seeds[0], dtype=torch.float32)
        return problems.on_device(model, data.inputs, problems.one_hot(data.targets), MSELoss())

    clock = problem()
    steps: dict[str, Step] = {"SGD": clock.gradient(SGD(clock.model.parameters(), lr=1e-9, fused=True))}
    steps |= {name: clock.gauss_newton(lr=STILL, **METHODS[name]) for name in (MOORE_PENROSE, ADJOINT)}
    for step in steps.values():
        step()
    times = measure.in_turns(steps, pairs)
    found: list[Row] = []
    for method in (MOORE_PENROSE, ADJOINT):
        new = problem()

        def looked(count: int, report: revgn.Report | None = None, on: Problem = new) -> Row:
            accuracy = problems.accuracy(on.model, data.test_inputs, data.test_targets)
            return {"step": count, "loss": problems.training_loss(on), "accuracy": accuracy, **told(report)}

        run = course(new.gauss_newton(**METHODS[method]), sizes["fit_steps"], looked)
        row = {"part": "fit", "setting": "-".join(map(str, widths)), "method": method}
        row |= timing(times[method], times["SGD"]) | summary([run])
        needed = run[-1]["step"] if run[-1]["loss"] <= GONE else None
        found.append(row | {"needed": needed, "runs": [run]})
        BENCHMARK.show(found[-1:])
    return found


def checks(rows: Sequence[Row]) -> list[Check]:
    """What docs/theory.md says of the right inverses; nothing of parts that were not run."""
    accuracy = {row["method"]: row["accuracy"] for row in rows if row["part"] == "generalise"}
    defects = [row["defect"] for row in rows if row["part"] == "generalise" and row["method"] in METHODS]
    exact = [d for d, name in zip(defects, METHODS, strict=False) if name != TRUNCATED and d is not None]
    needed = {row["method"]: row["needed"] or FULL["fit_steps"] + 1 for row in rows if row["part"] == "fit"}

    def gap(first: str, second: str) -> float | None:
        return accuracy[first] - accuracy[second] if accuracy else None

    return [
        at_least("test accuracy: moore-penrose above reversible by", gap(MOORE_PENROSE, REVERSIBLE), 0.2),
        at_least("test accuracy: moore-penrose above truncated by", gap(MOORE_PENROSE, TRUNCATED), 0.0),
        at_most("test accuracy: Adam above moore-penrose by", gap(ADAM, MOORE_PENROSE), 0.03),
        at_most("largest defect of the exact right inverses", max(exact, default=None), EXACT[torch.float32]),
        *(
            at_most(f"plain MLP: steps to {GONE:g} by {name}", needed.get(name), FULL["fit_steps"])
            for name in (MOORE_PENROSE, ADJOINT)
        ),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parts = ("generalise", "fit")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args(argv)
    require_known(parser, "part", arguments.parts, parts)
    sizes = TINY if arguments.tiny else FULL
    measured: Mapping[str, Callable[[], list[Row]]] = {
        "generalise": lambda: generalise(sizes, arguments.seeds, arguments.pairs),
        "fit": lambda: fit(sizes, arguments.seeds, arguments.pairs),
    }

    def measure_all() -> Result:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="no .* is surjective")  # small tests may have no such layer
            rows = [row for part in arguments.parts or parts for row in measured[part]()]
        return Result(rows, [] if arguments.tiny else checks(rows))

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
