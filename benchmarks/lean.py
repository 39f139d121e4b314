"""Is the memory of a step flat in depth when features are rebuilt instead of kept, and what does it cost in time?

    python benchmarks/lean.py [--pairs 5] [--out runs/benchmarks]

Memory is the peak of resident memory during the first step beyond what was there before it, less the step itself, which
is as large as the parameters: what a process needs beyond parameters and their step. It is measured in a process of its
own. Time is paired, at the greater depth. All blocks are nonlinear and all are solved. `chunks` streams the features as
well, 256 rows at a time, for batches whose features do not fit.
"""

from collections.abc import Sequence

import fresh
import measure
import problems
from results import Benchmark, Check, Column, Result, Row, at_most, columns_beside

ROWS, SIZES = 1024, {"in_features": 512, "hidden_features": 2048}
TINY_ROWS, TINY = 32, {"in_features": 32, "hidden_features": 64}
SHALLOW, DEEP = 4, 32
PATHS = {"fast": {}, "lean": {"keep_features": False}, "chunks": {"keep_features": False, "chunk_rows": 256}}
FLAT = 1.1  # what counts as no more memory: the system hands it out in pages, the libraries keep buffers
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("path", "path", width=6),
        Column("blocks", "blocks", "d", 6),
        Column("memory", "memory/MB", ".1f"),
        Column("parameters", "params/MB", ".1f"),
        *columns_beside("fast"),
    ],
)


def problem(rows: int, blocks: int, sizes: dict[str, int]) -> problems.Problem:
    """A network whose blocks all are nonlinear, so that each costs the same."""
    return problems.random_problem(rows, num_blocks=blocks, first_activation="relu", **sizes)


def memory(rows: int, sizes: dict[str, int], depths: Sequence[int]) -> list[Row]:
    """Bytes that a step takes beyond itself, and bytes of the parameters; to be called in a fresh process."""
    for options in PATHS.values():
        problem(TINY_ROWS, 2, TINY).gauss_newton(**options)()  # libraries load and make their buffers
    found: list[Row] = []
    for blocks in depths:
        large = problem(rows, blocks, sizes)
        parameters = sum(p.numel() * p.element_size() for p in large.model.parameters())
        for path, options in PATHS.items():
            large.model.zero_grad()
            needed = measure.peak_memory(large.gauss_newton(**options)) - parameters
            found.append({"path": path, "blocks": blocks, "memory": needed / 1e6, "parameters": parameters / 1e6})
    return found


def measured(rows: int, sizes: dict[str, int], pairs: int) -> list[Row]:
    """A row for each path and depth; seconds at the greater depth."""
    large = problem(rows, DEEP, sizes)
    methods = {path: large.gauss_newton(lr=1e-3, **options) for path, options in PATHS.items()}
    for step in methods.values():
        step()
    times = measure.in_turns(methods, pairs)
    found = fresh.call("lean", "memory", mapped=True, rows=rows, sizes=sizes, depths=(SHALLOW, DEEP))
    for row in found:
        if row["blocks"] == DEEP:
            row |= times[row["path"]].beside(times["fast"])
    BENCHMARK.show(found)
    return found


def checks(rows: Sequence[Row]) -> list[Check]:
    """Flat in depth, at a price."""
    by_point = {(row["path"], row["blocks"]): row for row in rows}
    shallow, deep = by_point["lean", SHALLOW], by_point["lean", DEEP]
    return [
        at_most(
            f"lean: memory at {DEEP} blocks beyond parameters and step, of that at {SHALLOW}",
            deep["memory"] / shallow["memory"],
            FLAT,
        ),
        at_most(f"lean: time at {DEEP} blocks, of the fast path's", deep["ratio"], 1.6),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args(argv)

    def measure_all() -> Result:
        rows = measured(*((TINY_ROWS, TINY) if arguments.tiny else (ROWS, SIZES)), arguments.pairs)
        return Result(rows, [] if arguments.tiny else checks(rows))

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
