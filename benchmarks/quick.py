"""Does a step still take no more products than theory counts, and about how long, beside SGD's?

    python benchmarks/quick.py [--pairs 5] [--out runs/benchmarks]

Under a minute; continuous integration prints it. Products are counted, the same on every machine: more than theory has
is an error, and the exit status is 1. Seconds are for the eye only.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import measure
import problems
import theory
from results import Benchmark, Check, Column, Result, Row, at_most, columns_beside

ROWS = 512
NETWORKS: Mapping[str, dict[str, int]] = {
    "shallow": {"in_features": 512, "num_blocks": 2, "hidden_features": 2048},
    "deep": {"in_features": 512, "num_blocks": 6, "hidden_features": 2048},
}
TINY_ROWS, TINY = 160, {"in_features": 256, "hidden_features": 1024}
PATHS: Mapping[str, dict[str, Any]] = {
    "exact": {},
    "last": {"block_weights": "last"},
    "lean": {"keep_features": False},
}
ROOM = 0.1  # of a product, for products of outputs with outputs; one too many would be 1
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("network", "network", width=8),
        Column("method", "method", width=7),
        Column("products", "products", ".2f"),
        Column("theory", "theory", ".2f"),
        Column("of_sgd", "of SGD's", ".2f"),
        *columns_beside("SGD"),
    ],
)


def measured(network: str, rows: int, sizes: dict[str, int], pairs: int) -> list[Row]:
    """A row for each method; the first block is linear, so that an exact step solves all but that."""
    problem = problems.random_problem(rows, **sizes)
    sgd = problem.gradient(torch_sgd(problem), problems.plain_forward(problem.model))
    methods = {"SGD": sgd} | {name: problem.gauss_newton(lr=1e-3, **options) for name, options in PATHS.items()}
    shape = theory.Sizes(rows, problem.model.state_features, sizes["hidden_features"], sizes["num_blocks"])
    solved = {"SGD": 0, "exact": shape.blocks - 1, "last": 1, "lean": shape.blocks - 1}
    by_theory = {"SGD": theory.gradient_step(shape)} | {
        name: theory.gauss_newton_step(shape, solved=solved[name], keep_features=name != "lean")
        + theory.small_products(shape, solved=solved[name], outputs=problems.CLASSES)
        for name in PATHS
    }
    counted = {name: measure.counted(step) / shape.unit for name, step in methods.items()}
    times = measure.in_turns(methods, pairs)
    found: list[Row] = []
    for name, taken in times.items():
        found.append(
            {
                "network": network,
                "method": name,
                "products": counted[name],
                "theory": by_theory[name],
                "of_sgd": counted[name] / counted["SGD"],
                **taken.beside(times["SGD"]),
            }
        )
    return found


def torch_sgd(problem: problems.Problem) -> Any:
    """Torch's SGD, fused, at a rate too small to lead anywhere."""
    from torch.optim import SGD

    return SGD(problem.model.parameters(), lr=1e-6, fused=True)


def checks(rows: Sequence[Row]) -> list[Check]:
    """Products counted beyond theory's."""
    return [
        at_most(
            f"{row['network']}, {row['method']}: products beyond theory's",
            row["products"] - row["theory"],
            ROOM,
        )
        for row in rows
        if row["method"] != "SGD"
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write it as JSON; 1 if a step takes more products than theory counts."""
    parser = BENCHMARK.parser()
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args(argv)
    rows_of_batch, smaller = (TINY_ROWS, TINY) if arguments.tiny else (ROWS, {})

    def measure_all() -> Result:
        rows: list[Row] = []
        for network, sizes in NETWORKS.items():
            found = measured(network, rows_of_batch, sizes | smaller, arguments.pairs)
            BENCHMARK.show(found)
            rows += found
        return Result(rows, checks(rows))

    content = BENCHMARK.run(arguments, measure_all)
    return int(any(check["met"] is False for check in content["checks"]))


if __name__ == "__main__":
    sys.exit(main())
