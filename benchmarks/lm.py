"""How does Levenberg-Marquardt compare with torch-levenberg-marquardt, SciPy's least_squares, LBFGS and AdamW?

    python benchmarks/lm.py [sinc mlp wide-300 large ...] [--memory 8] [--patience 60] [--out runs/benchmarks]

The problems, each from the same parameters for all methods:

- `sinc`: the example of torch-levenberg-marquardt: sinc(10 x) at 20,000 points of [-1, 1], a network 1-20-1 with tanh,
  float32; to the loss that the package has after the 50 epochs of 1,000 rows of its example, seed by seed.
- `mlp`: a network 4-20-20-1 with tanh on a smooth function, 1,000 rows, float64; to a loss of 1e-6.
- `wide-H`: a network 45120-H-3 with ReLU on 38 random rows, float32; to a loss of 1e-6.
- `large`: ten million parameters, 2,000 rows, one output, float32; to a loss of 1e-6.

Losses are halves of mean squares, as `revgn.losses.MSELoss` counts them. A step is a new linearisation for the methods
that linearise, an iteration of LBFGS (strong Wolfe conditions), an update of AdamW. The clock stands still while the
loss on all rows is measured, but not in the passes that SciPy and LBFGS make themselves: any of those may reach the
target. SciPy gets its Jacobian from torch, row by row, and computes in float64. Settings are tried for a quarter of
`--patience` on the first seed, and the best of them is what is shown.

Each measurement has a process of its own that may take `--memory` GB beyond its libraries. Memory is the peak of the
first step beyond the network and the data.
"""

import contextlib
import importlib.util
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fresh
import measure
import package
from fresh import OutOfMemory, TimedOut
from lm_methods import ADAMW, BFGS, METHODS, MINPACK, OURS, TRF, Over, Watch
from lm_problems import large, mlp, sinc, wide
from problems import Problem
from results import Benchmark, Check, Column, Result, Row, at_least, at_most, require_known

TARGET = 1e-6
BATCH, EPOCHS = 1000, 50  # of the package's example
PUBLISHED = 3.31e-7 / 2  # the loss of the last epoch in the package's README
Options = Mapping[str, Any]
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("problem", "problem", width=9),
        Column("method", "method", width=26),
        Column("success", "success", width=13),
        Column("steps", "steps", ".0f", 7),
        Column("seconds", "seconds", ".3f"),
        Column("pace", "s/step", ".4f"),
        Column("memory", "memory/MB", ".1f"),
        Column("options", "", width=50),
    ],
)


def _settings(**choices: Sequence[Any]) -> list[dict[str, Any]]:
    """Every combination."""
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


DENSE = {
    TRF: _settings(method=["trf"], x_scale=[1.0, "jac"]),
    MINPACK: _settings(method=["lm"], x_scale=[1.0, "jac"]),
    BFGS: _settings(history_size=[10, 100]),
}
UNDERDETERMINED = {  # MINPACK's needs as many rows as parameters; SciPy's other one an SVD, or lsmr
    OURS: [{}],
    package.NAME: _settings(solve_method=["cholesky"], use_vmap=[True, False]),
    TRF: _settings(method=["trf"], tr_solver=["lsmr"]),
    BFGS: _settings(history_size=[10, 100]),
    ADAMW: _settings(lr=[1e-4, 1e-3, 1e-2]),
}
EXAMPLE = {"solve_method": "solve", "batch": BATCH}  # as the package's example has it, all else by default


@dataclass(frozen=True)
class Setting:
    """A problem with the settings of each method that are tried on it.

    Attributes:
        make: from a seed, and whether it is to be tiny.
    """

    make: Callable[[int, bool], Problem]
    methods: Mapping[str, Sequence[Options]]


def _wide(hidden: int) -> Setting:
    return Setting(lambda seed, tiny: wide(seed, tiny, hidden=hidden), UNDERDETERMINED)


SETTINGS: Mapping[str, Setting] = {
    "sinc": Setting(
        sinc,
        {
            OURS: _settings(batch=[BATCH, None]),
            package.NAME: [EXAMPLE, *_settings(solve_method=["solve"], damping_mode=["standard", "fletcher"])],
            ADAMW: _settings(lr=[1e-3, 3e-3, 1e-2, 3e-2], batch=[BATCH]),
        }
        | DENSE,
    ),
    "mlp": Setting(
        mlp,
        {
            OURS: [{}],
            package.NAME: _settings(solve_method=["cholesky", "qr"], damping_mode=["standard", "fletcher"]),
            ADAMW: _settings(lr=[1e-3, 3e-3, 1e-2, 3e-2]),
        }
        | DENSE,
    ),
    "wide-30": _wide(30),
    "wide-100": _wide(100),
    "wide-300": _wide(300),
    "large": Setting(large, UNDERDETERMINED),
}


def training(
    problem: str, method: str, options: Options, *, tiny: bool, memory: float, seed: int, **watch: Any
) -> dict[str, Any]:
    """Steps and seconds of one training, to be called in a fresh process."""
    _prepare(problem, method, options, memory)
    seen = _train(SETTINGS[problem].make(seed, tiny), method, options, Watch(**watch))
    return {"reached": seen.reached, "steps": seen.steps, "seconds": seen.seconds, "loss": seen.loss}


def peak(problem: str, method: str, options: Options, *, tiny: bool, memory: float) -> int:
    """Bytes that the first step takes, to be called in a fresh process."""
    _prepare(problem, method, options, memory)
    on = SETTINGS[problem].make(0, tiny)
    return measure.peak_memory(lambda: _train(on, method, options, Watch(target=0.0, most=1)))


def _prepare(problem: str, method: str, options: Options, memory: float) -> None:
    """Let libraries load and make their buffers, then refuse more than `memory` bytes beyond those."""
    _train(SETTINGS[problem].make(0, True), method, options, Watch(target=0.0, most=2))
    fresh.limit_memory(memory)


def _train(on: Problem, method: str, options: Options, watch: Watch) -> Watch:
    with contextlib.suppress(Over):
        METHODS[method](on, watch, **options)
    return watch


def compared(problem: str, method: str, targets: Sequence[float], limits: Options) -> Row:
    """The row of one method on one problem, at the best of its settings."""
    settings = SETTINGS[problem].methods[method]
    patience, timeout = limits["patience"], limits["timeout"]
    common = {name: limits[name] for name in ("tiny", "memory")} | {"problem": problem, "method": method}
    row: Row = {"problem": problem, "method": method}

    def trained(options: Options, seed: int, patience: float) -> Row:
        call = {"options": options, "seed": seed, "target": targets[seed], "patience": patience}
        try:
            return fresh.call("lm", "training", **common, **call, timeout=timeout)
        except OutOfMemory:
            failure = "out of memory"
        except TimedOut:
            failure = "out of time"
        return {"reached": False, "steps": None, "seconds": None, "loss": None, "failure": failure}

    tried = []
    if len(settings) > 1:
        tried = [{"options": dict(options)} | trained(options, 0, patience / 4) for options in settings]
        settings = [min(tried, key=_rank)["options"]]
    options = settings[0]
    runs = [trained(options, seed, patience) for seed in range(len(targets))]
    row |= {"options": ", ".join(f"{name}={value}" for name, value in options.items() if value is not None)}
    row |= {"targets": list(targets), "tried": tried, "runs": runs}
    return row | summary(runs) | {"memory": _peak(common | {"options": options, "timeout": timeout})}


def _peak(call: Mapping[str, Any]) -> float | None:
    """MB; None if it was refused that much."""
    try:
        return fresh.call("lm", "peak", mapped=True, **call) / 1e6
    except (OutOfMemory, TimedOut):
        return None


def summary(runs: Sequence[Row]) -> Row:
    """How many trainings got there, and the medians of those that did; seconds a step by all."""
    there = [run for run in runs if run["reached"]]
    paces = [run["seconds"] / max(1, run["steps"]) for run in runs if run["seconds"] is not None]
    failure = next((run["failure"] for run in runs if "failure" in run), None)
    return {
        "share": len(there) / len(runs),
        "success": failure or f"{len(there)} of {len(runs)}",
        "steps": statistics.median(run["steps"] for run in there) if there else None,
        "seconds": statistics.median(run["seconds"] for run in there) if there else None,
        "pace": statistics.median(paces) if paces else None,
    }


def _rank(run: Row) -> tuple[float, float]:
    return (run["seconds"] if run["reached"] else math.inf), (math.inf if run["loss"] is None else run["loss"])


def targets_of(problem: str, seeds: int, limits: Options) -> list[float]:
    """The loss to be reached from each seed."""
    if problem != "sinc":
        return [TARGET]
    if not package.installed():
        return [PUBLISHED] * seeds
    most = 4 if limits["tiny"] else EPOCHS * sinc(0, False).inputs.shape[0] // BATCH
    ends = [
        fresh.call(
            "lm",
            "training",
            problem=problem,
            method=package.NAME,
            options=EXAMPLE,
            tiny=limits["tiny"],
            memory=limits["memory"],
            seed=seed,
            target=0.0,
            most=most,
        )
        for seed in range(seeds)
    ]
    return [end["loss"] for end in ends]


def missing() -> dict[str, str]:
    """Methods whose package is not installed, with what installs it."""
    found = {} if package.installed() else {package.NAME: package.INSTALL}
    if importlib.util.find_spec("scipy") is None:
        found |= dict.fromkeys((TRF, MINPACK), "pip install scipy")
    return found


def measured(problems: Sequence[str], seeds: int, limits: Options) -> list[Row]:
    """A row for each method on each problem, but for methods whose package is not there."""
    rows: list[Row] = []
    for problem in problems:
        targets = targets_of(problem, seeds, limits)
        for method in SETTINGS[problem].methods:
            if method in missing():
                continue
            rows.append(compared(problem, method, targets, limits))
            BENCHMARK.show(rows[-1:])
    return rows


def checks(rows: Sequence[Row]) -> list[Check]:
    """What is promised of each problem; not measured where its row is not there."""
    by = {(row["problem"], row["method"]): row for row in rows}

    def value(problem: str, key: str, method: str = OURS, unit: float = 1.0) -> float | None:
        found = by.get((problem, method), {}).get(key)
        return None if found is None else found / unit

    def ratio(key: str) -> float | None:
        ours, theirs = value("sinc", key), value("sinc", key, package.NAME)
        return None if not ours or not theirs else ours / theirs

    return [
        at_most(f"sinc: steps to the loss of {package.NAME}, as a share of its own", ratio("steps"), 1),
        at_most("sinc: seconds to it, as a share of its own", ratio("seconds"), 1),
        at_least(f"mlp: share of trainings that reach {TARGET:g}", value("mlp", "share"), 1),
        at_least(f"wide-300: share of trainings that reach {TARGET:g}", value("wide-300", "share"), 1),
        at_most("wide-300: GB of a step beyond the network", value("wide-300", "memory", unit=1e3), 1),
        at_most("large: seconds a step", value("large", "pace"), 5),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help=f"of {', '.join(SETTINGS)}; default: all")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="starts of sinc; default: %(default)s")
    parser.add_argument("--memory", type=float, default=8.0, help="GB for each method; default: %(default)g")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds of training; default: %(default)g")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for a process; default: %(default)g")
    arguments = parser.parse_args(argv)
    require_known(parser, "problem", arguments.problems, SETTINGS)
    patience = 0.1 if arguments.tiny else arguments.patience
    limits = {"tiny": arguments.tiny, "memory": arguments.memory * 1e9, "patience": patience}
    limits |= {"timeout": arguments.timeout}

    def measure_all() -> Result:
        rows = measured(arguments.problems or list(SETTINGS), arguments.seeds, limits)
        notes = [f"{method} is left out: it is not installed ({how})" for method, how in missing().items()]
        return Result(rows, [] if arguments.tiny else checks(rows), notes)

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
