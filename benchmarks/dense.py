"""How does the closed form compare with the dense pseudo-inverse of the Jacobian, and with torch-levenberg-marquardt?

    python benchmarks/dense.py [--rows 32 64 ...] [--memory 16] [--patience 120] [--plot docs] [--out runs/benchmarks]

The same network (RevMLP, two blocks, all nonlinear, features four times the rows), the same rows of digits, squared
error on one-hot labels, float32, the same target loss: 1e-6, as `revgn.losses.MSELoss` counts it, for all. The others:

- `dense, Cholesky` and `dense, SVD`: `revgn.dense.GaussNewton`, the pseudo-inverse of the whole Jacobian;
- `torch-levenberg-marquardt`: the package from PyPI, in the fastest of its settings. Its solvers and ways to the
  Jacobian are tried at a small size, its first dampings at every size; the best of them is what is shown.

Each measurement has a process of its own that may take `--memory` GB beyond its libraries; one that is refused more is
shown as out of memory, and larger sizes are then not tried, nor after a step that takes a quarter of `--patience`.
Seconds a step are medians after one step of warming up, unless that one takes long itself; memory is the peak of the
first step beyond what was held before it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import fresh
import measure
import package
import problems
import revgn
import revgn_lab.data
from figures import dense_figure
from fresh import OutOfMemory, TimedOut
from problems import Problem
from results import Benchmark, Check, Column, Result, Row, at_least
from revgn.dense import GaussNewton as Dense
from revgn.losses import MSELoss
from revgn.solvers import SVD, Cholesky

TARGET = 1e-6
STEPS = 100  # the most to the target
LEAST, MOST = 2.0, 20  # seconds, and steps, that the median of a step is taken over
TOO_SLOW = 0.25  # of the patience for a whole training: a method with such a step is not tried at larger sizes
TRIAL_ROWS = 32  # where the package's settings are tried
STATE = 128
TINY_ROWS, ROWS = (8, 16), (16, 32, 64, 128, 256, 384, 512, 1024)
CLOSED, CHOLESKY, BY_SVD, PACKAGE = "closed form", "dense, Cholesky", "dense, SVD", package.NAME
SOLVE_METHODS, WITH_VMAP = ("cholesky", "solve", "qr"), (True, False)
FIRST_DAMPINGS = (1e-3, 1e-6)  # the package's default, and nearly none
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("rows", "n", "d", 5),
        Column("parameters", "params", "d", 9),
        Column("method", "method", width=26),
        Column("seconds", "s/step", ".4f"),
        Column("rate", "steps/s", ".3g", 8),
        Column("steps", "steps", "d", 5),
        Column("time", "s to 1e-6", ".3f"),
        Column("memory", "memory/MB", ".1f"),
        Column("failure", "", width=14),
        Column("options", "", width=40),
    ],
    dense_figure,
)


@dataclass(frozen=True)
class Method:
    """A step of some method on a problem, and the options it was made with."""

    step: Callable[[], object]
    options: Mapping[str, Any]


def problem(rows: int) -> Problem:
    """The common network and batch."""
    data = revgn_lab.data.load("digits", rows=rows, seed=0)
    generator = torch.Generator().manual_seed(0)
    model = revgn.RevMLP(
        data.in_features,
        problems.CLASSES,
        num_blocks=2,
        hidden_features=4 * rows,
        state_features=STATE,
        first_activation="relu",
        generator=generator,
    )
    return Problem(model, data.inputs, problems.one_hot(data.targets), MSELoss())


def step_of(method: str, on: Problem, options: Mapping[str, Any]) -> Callable[[], object]:
    """A step of the method of that name."""
    if method == CLOSED:
        return on.gauss_newton()
    if method == PACKAGE:
        module = package.training_module(on, **options)
        return lambda: module.training_step(on.inputs, on.targets)
    optimizer = Dense(on.model, on.loss, solver=Cholesky() if method == CHOLESKY else SVD())

    def step() -> None:
        optimizer.backward(on.inputs, on.targets)
        optimizer.step()

    return step


def peak(method: str, rows: int, options: Mapping[str, Any], memory: float) -> int:
    """Bytes that the first step takes; to be called in a fresh process."""
    _prepare(method, options, memory)
    return measure.peak_memory(step_of(method, problem(rows), options))


def speed(method: str, rows: int, options: Mapping[str, Any], memory: float, patience: float) -> dict[str, Any]:
    """Median seconds of a step, then steps and seconds to the target; to be called in a fresh process."""
    _prepare(method, options, memory)
    pace = measure.repeated(step_of(method, problem(rows), options), at_least=LEAST, most=MOST).median
    return {"seconds": pace, "rate": 1 / pace} | _to_target(method, problem(rows), options, patience)


def _prepare(method: str, options: Mapping[str, Any], memory: float) -> None:
    """Let libraries load and make their buffers, then refuse more than `memory` bytes beyond those."""
    step_of(method, problem(min(TINY_ROWS)), options)()
    fresh.limit_memory(memory)


def _to_target(method: str, on: Problem, options: Mapping[str, Any], patience: float) -> dict[str, Any]:
    """Steps and seconds from the start to the target loss; None for both if it was not reached."""
    step = step_of(method, on, options)
    taken = 0.0
    for count in range(1, STEPS + 1):
        taken += measure.seconds(step)
        with torch.no_grad():
            loss = float(on.loss(on.model(on.inputs), on.targets))
        if loss <= TARGET:
            return {"steps": count, "time": taken}
        if taken > patience or not math.isfinite(loss):
            break
    return {"steps": None, "time": None}


def fastest_options(rows: int) -> dict[str, Any]:
    """The package's quickest way to a step, by trial at a small size."""
    tried = [
        {"solve_method": solve_method, "use_vmap": use_vmap, "damping": FIRST_DAMPINGS[0]}
        for solve_method in SOLVE_METHODS
        for use_vmap in WITH_VMAP
    ]
    steps = {str(index): step_of(PACKAGE, problem(rows), options) for index, options in enumerate(tried)}
    return tried[int(measure.fastest(steps))]


def compared(rows: int, method: str, variants: Sequence[dict[str, Any]], limits: Mapping[str, float]) -> Row:
    """The row of one method at one size, with the variant that gets to the target soonest."""
    row: Row = {"rows": rows, "parameters": parameters(rows), "method": method, "failure": None}
    limited = {"memory": limits["memory"] * 1e9, "timeout": limits["timeout"], "method": method, "rows": rows}
    runs: list[Row] = []
    try:
        row["memory"] = fresh.call("dense", "peak", mapped=True, **limited, options=variants[0]) / 1e6
        for options in variants:
            run = fresh.call("dense", "speed", **limited, options=options, patience=limits["patience"])
            runs.append(run | {"options": ", ".join(f"{name}={value}" for name, value in options.items())})
    except OutOfMemory:
        row["failure"] = "out of memory"
    except TimedOut:
        row["failure"] = "out of time"
    if not runs:
        return row
    best = min(runs, key=lambda run: run["time"] or math.inf)
    return row | best | {"failure": row["failure"] or (None if best["time"] else "not reached")}


def parameters(rows: int) -> int:
    """How many there are in the network for so many rows."""
    return sum(p.numel() for p in problem(rows).model.parameters())


def climb(sizes: Sequence[int], limits: Mapping[str, float]) -> list[Row]:
    """Every method at every size, each until it fails; the closed form at all of them."""
    theirs = fastest_options(min(TRIAL_ROWS, max(sizes)))
    variants: dict[str, list[dict[str, Any]]] = {
        CLOSED: [{}],
        CHOLESKY: [{}],
        BY_SVD: [{}],
        PACKAGE: [theirs | {"damping": damping} for damping in FIRST_DAMPINGS],
    }
    failed: set[str] = set()
    found: list[Row] = []
    for rows in sizes:
        for method in [name for name in variants if name not in failed]:
            row = compared(rows, method, variants[method], limits)
            slow = row.get("seconds", 0.0) > TOO_SLOW * limits["patience"]
            if slow or row["failure"] in ("out of memory", "out of time"):
                failed.add(method)
            BENCHMARK.show([row])
            found.append(row)
    return found


def checks(rows: Sequence[Row]) -> list[Check]:
    """The closed form beside each other method at the largest size that the other runs at."""
    found = []
    for method in (CHOLESKY, PACKAGE):
        ran = [row for row in rows if row["method"] == method and row.get("seconds")]
        theirs = max(ran, key=lambda row: row["rows"], default=None)
        ours = next((r for r in rows if theirs and r["method"] == CLOSED and r["rows"] == theirs["rows"]), None)
        both = theirs is not None and ours is not None
        where = f" at n = {theirs['rows']}" if both else ""
        found += [
            at_least(f"closed form beside {method}{where}: {word} times", theirs[key] / ours[key] if both else None, 50)
            for key, word in (("seconds", "faster per step,"), ("memory", "less memory,"))
        ]
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("--rows", type=int, nargs="+", metavar="N", help=f"default: {' '.join(map(str, ROWS))}")
    parser.add_argument("--memory", type=float, default=16.0, help="GB for each method; default: %(default)g")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds to the target; default: %(default)g")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for a process; default: %(default)g")
    arguments = parser.parse_args(argv)
    sizes = sorted(arguments.rows or (TINY_ROWS if arguments.tiny else ROWS))
    limits = {name: getattr(arguments, name) for name in ("memory", "patience", "timeout")}

    def measure_all() -> Result:
        rows = climb(sizes, limits)
        return Result(rows, [] if arguments.tiny else checks(rows))

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
