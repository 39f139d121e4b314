"""What does a Moore-Penrose step cost beside a gradient step?

    python benchmarks/moore_penrose.py [--pairs 5]

Random rows: the authors' MNIST network with one output and with ten, and a narrow MLP in float64 with more rows than
that. `floor` is what theory counts for the step, as a multiple of SGD's products; `products` what is counted, without
factorisations. Memory is the peak of the first step beyond parameters and step.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

import fresh
import measure
import problems
import revgn
import theory
from measure import Step
from problems import Problem
from results import Benchmark, Check, Column, Result, Row, at_most, columns_beside

MOORE_PENROSE = "moore-penrose"
STILL = 1e-6  # a learning rate too small to lead anywhere, for the clock
SETTINGS: Mapping[str, int | None] = {"mnist, one output": 1, "mnist, ten outputs": 10, "narrow MLP, float64": None}
FULL: Mapping[str, Any] = {
    "rows": 1024,
    "mnist": problems.MNIST,
    "narrow": {"rows": 4000, "widths": (16, 256, 256, 1)},
}
TINY: Mapping[str, Any] = {
    "rows": 48,
    "mnist": {"in_features": 32, "num_blocks": 2, "hidden_features": 96},
    "narrow": {"rows": 40, "widths": (4, 16, 16, 1)},
}
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("setting", "setting", width=19),
        Column("method", "method", width=13),
        *columns_beside("SGD"),
        Column("products", "products", ".2f", 8),
        Column("floor", "floor", ".2f", 7),
        Column("memory", "memory/MB", ".1f"),
        Column("defect", "defect", ".0e", 6),
    ],
)


def problem_of(sizes: Mapping[str, Any], outputs: int | None) -> Problem:
    """The MNIST network with so many outputs; None for the narrow MLP in float64."""
    if outputs is None:
        widths, rows = sizes["narrow"]["widths"], sizes["narrow"]["rows"]
        model = problems.mlp(widths, activation=nn.Tanh, seed=0, dtype=torch.float64)
        return problems.random_regression(model, rows, widths[0], widths[-1], torch.float64)
    generator = torch.Generator().manual_seed(0)
    model = revgn.RevMLP(out_features=outputs, generator=generator, **sizes["mnist"])
    return problems.random_regression(model, sizes["rows"], model.in_features, outputs)


def steps_of(problem: Problem, *, plain: bool) -> dict[str, Step]:
    """A step by gradient and one by the Moore-Penrose inverse."""
    forward = problems.plain_forward(problem.model) if plain else None
    gradient = SGD(problem.model.parameters(), lr=1e-9, fused=True)
    return {
        "SGD": problem.gradient(gradient, forward),
        MOORE_PENROSE: problem.gauss_newton(lr=STILL, right_inverse=MOORE_PENROSE),
    }


def memory(tiny: bool, outputs: int | None) -> dict[str, float]:
    """Bytes that the first step of each method takes beyond itself; to be called in a fresh process."""
    for step in steps_of(problem_of(TINY, outputs), plain=outputs is not None).values():
        step()  # libraries load and make their buffers
    problem = problem_of(TINY if tiny else FULL, outputs)
    change = sum(p.numel() * p.element_size() for p in problem.model.parameters())
    found: dict[str, float] = {}
    for name, step in steps_of(problem, plain=outputs is not None).items():
        problem.model.zero_grad()
        found[name] = measure.peak_memory(step) - change
    return found


def measured(tiny: bool, pairs: int) -> list[Row]:
    """A row for SGD and one for Moore-Penrose in each setting."""
    sizes = TINY if tiny else FULL
    found: list[Row] = []
    for setting, outputs in SETTINGS.items():
        peaks = fresh.call("moore_penrose", "memory", mapped=True, tiny=tiny, outputs=outputs)
        problem = problem_of(sizes, outputs)
        steps = steps_of(problem, plain=outputs is not None)
        counted = {name: measure.counted(step) for name, step in steps.items()}  # warms up, too
        times = measure.in_turns(steps, pairs)
        floors = by_theory(problem, sizes, outputs)
        for name, taken in times.items():
            report = steps[name]()
            found.append(
                {
                    "setting": setting,
                    "method": name,
                    **taken.beside(times["SGD"]),
                    "products": counted[name] / counted["SGD"],
                    "floor": floors.get(name),
                    "memory": peaks[name] / 1e6,
                    "defect": report.defect if isinstance(report, revgn.Report) else None,
                }
            )
            BENCHMARK.show(found[-1:])
    return found


def by_theory(problem: Problem, sizes: Mapping[str, Any], outputs: int | None) -> dict[str, float]:
    """What theory counts, as a multiple of SGD's products; nothing for the narrow MLP."""
    if outputs is None or not isinstance(problem.model, revgn.RevMLP):
        return {}
    network = sizes["mnist"]
    shape = theory.Sizes(sizes["rows"], problem.model.state_features, network["hidden_features"], network["num_blocks"])
    return {"SGD": 1.0, MOORE_PENROSE: theory.moore_penrose_step(shape, outputs=outputs) / theory.gradient_step(shape)}


def checks(rows: Sequence[Row]) -> list[Check]:
    """Ratios to SGD, a step's seconds and its memory against what was promised."""
    seen = {row["setting"]: row for row in rows if row["method"] == MOORE_PENROSE}
    one, ten, narrow = (seen[setting] for setting in SETTINGS)
    return [
        at_most("mnist, one output: of SGD's time", one["ratio"], 1.3),
        at_most("mnist, ten outputs: of SGD's time", ten["ratio"], 9),
        at_most("mnist, ten outputs: peak memory beyond the parameters, MB", ten["memory"], 2500),
        at_most("narrow MLP: seconds of a step", narrow["seconds"], 1.5),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args(argv)

    def measure_all() -> Result:
        rows = measured(arguments.tiny, arguments.pairs)
        return Result(rows, [] if arguments.tiny else checks(rows))

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
