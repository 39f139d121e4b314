"""What does a Gauss-Newton step cost beside a gradient step on the same network and batch?

    python benchmarks/step.py [mnist cifar10 digits ...] [--pairs 5] [--out runs/benchmarks]

Every method takes its step in turn, in one process, as often as there are pairs after one round of warming up, so that
a machine that drifts drifts for all of them. Reported are medians, and of the ratios to SGD, pair by pair, the median
and the range. `products` is the floor: the ratio of the floating point operations in matrix products, counted;
`theory` the same by hand, for the exact steps and autograd at least cost.

SGD and Adam are torch's autograd at its best on this network: inputs that need no gradient, torch's own loss, and the
faster of our module and a plain rewriting of it with ReLU in place, of the for-loop, foreach and fused updates.
"""

from collections.abc import Sequence
from typing import Any

import torch

import measure
import problems
import theory
from measure import Step
from problems import Problem
from results import Benchmark, Check, Column, Result, Row, at_most, columns_beside, require_known
from revgn import Report
from revgn.solvers import Eigh

# The authors' sizes; their inputs are replaced by normal ones, which cost the same.
SETTINGS: dict[str, dict[str, int]] = {
    "digits": {"in_features": 64, "num_blocks": 2, "hidden_features": 2000, "state_features": 128},
    "mnist": problems.MNIST,
    "cifar10": {"in_features": 3072, "num_blocks": 6, "hidden_features": 8000},
}
ROWS = 1024
TINY_ROWS, TINY = 64, {"hidden_features": 128, "in_features": 32, "state_features": 32}
EXACT, LAST, REBUILT, TRUNCATED = (
    "exact, all surjective blocks",
    "exact, last block",
    "exact, features rebuilt",
    "truncated, all blocks",
)
GAUSS_NEWTON: dict[str, dict[str, Any]] = {
    EXACT: {},
    LAST: {"block_weights": "last"},
    REBUILT: {"keep_features": False},
    TRUNCATED: {"solver": Eigh(rtol=1e-2), "block_weights": "sum"},
}
UPDATES = {"for loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
RATES = {"SGD": (torch.optim.SGD, 1e-6), "Adam": (torch.optim.Adam, 1e-9)}  # too small to lead anywhere
LIMITS = {
    ("mnist", EXACT): 0.95,
    ("mnist", TRUNCATED): 1.8,
    ("cifar10", EXACT): 1.25,
    ("cifar10", LAST): 0.55,
    ("cifar10", TRUNCATED): 1.8,
}
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("setting", "setting", width=8),
        Column("method", "method", width=30),
        *columns_beside("SGD"),
        Column("products", "products", ".2f", 8),
        Column("theory", "theory", ".2f", 7),
        Column("defect", "defect", ".0e", 7),
    ],
)


def steps(problem: Problem) -> dict[str, Step]:
    """One step of every method, all on one network and batch."""
    forwards = {"our module": problem.model, "plain, in place": problems.plain_forward(problem.model)}
    still = torch.optim.SGD(problem.model.parameters(), lr=0.0)
    forward = forwards[measure.fastest({name: problem.gradient(still, each) for name, each in forwards.items()})]
    gradient = {}
    for name, (kind, rate) in RATES.items():
        updates = {how: kind(problem.model.parameters(), lr=rate, **options) for how, options in UPDATES.items()}
        quickest = updates[measure.fastest({how: optimizer.step for how, optimizer in updates.items()})]
        gradient[name] = problem.gradient(quickest, forward)
    ours = {name: problem.gauss_newton(lr=1e-3, **options) for name, options in GAUSS_NEWTON.items()}
    return gradient | ours


def by_theory(sizes: theory.Sizes) -> dict[str, float]:
    """Products of each method by hand, as a multiple of autograd's."""
    surjective = sizes.blocks - sizes.linear_first
    units = {
        "SGD": theory.gradient_step(sizes),
        "Adam": theory.gradient_step(sizes),
        EXACT: theory.gauss_newton_step(sizes, solved=surjective),
        LAST: theory.gauss_newton_step(sizes, solved=1),
        REBUILT: theory.gauss_newton_step(sizes, solved=surjective, keep_features=False),
    }
    return {name: count / units["SGD"] for name, count in units.items()}


def measured(setting: str, rows: int, network: dict[str, int], pairs: int) -> list[Row]:
    """A row for each method."""
    problem = problems.random_problem(rows, **network)
    methods = steps(problem)
    counted = {name: measure.counted(step) for name, step in methods.items()}  # warms up, too
    times = measure.in_turns(methods, pairs)
    sizes = theory.Sizes(rows, problem.model.state_features, network["hidden_features"], network["num_blocks"])
    floors = by_theory(sizes)
    found = []
    for name, taken in times.items():
        report = methods[name]()
        found.append(
            {
                "setting": setting,
                "method": name,
                **taken.beside(times["SGD"]),
                "products": counted[name] / counted["SGD"],
                "theory": floors.get(name),
                "defect": report.defect if isinstance(report, Report) else None,
            }
        )
    return found


def checks(rows: Sequence[Row]) -> list[Check]:
    """Ratios to SGD against what was promised."""
    ratios = {(row["setting"], row["method"]): row["ratio"] for row in rows}
    return [
        at_most(f"{setting}: {method}, of SGD's time", ratios.get((setting, method)), limit)
        for (setting, method), limit in LIMITS.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=f"of {', '.join(SETTINGS)}; default: all")
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args(argv)
    require_known(parser, "setting", arguments.settings, SETTINGS)
    rows_of_batch, smaller = (TINY_ROWS, TINY) if arguments.tiny else (ROWS, {})

    def measure_all() -> Result:
        rows: list[Row] = []
        for setting in arguments.settings or SETTINGS:
            found = measured(setting, rows_of_batch, SETTINGS[setting] | smaller, arguments.pairs)
            BENCHMARK.show(found)
            rows += found
        return Result(rows, [] if arguments.tiny else checks(rows))

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
