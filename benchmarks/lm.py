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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.optim import LBFGS, AdamW

import fresh
import measure
import package
import revgn
from fresh import OutOfMemory, TimedOut
from problems import Problem
from results import Benchmark, Check, Column, Result, Row, at_least, at_most, require_known
from revgn.losses import MSELoss

TARGET = 1e-6
BATCH, EPOCHS = 1000, 50  # of the package's example
PUBLISHED = 3.31e-7 / 2  # the loss of the last epoch in the package's README
OURS, TRF, MINPACK, BFGS, ADAMW = "LevenbergMarquardt", "SciPy trf", "SciPy lm", "LBFGS", "AdamW"
MANY = 10**9  # steps or evaluations, where time ends it
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


def sinc(seed: int, tiny: bool) -> Problem:
    inputs = torch.linspace(-1, 1, 200 if tiny else 20_000).unsqueeze(1)
    return _problem(seed, (1, 20, 1), nn.Tanh, inputs, torch.sinc(10 * inputs))


def mlp(seed: int, tiny: bool) -> Problem:
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.rand(100 if tiny else 1000, 4, generator=generator, dtype=torch.float64) - 1
    a, b, c, d = x.unbind(1)
    targets = torch.sin(3 * a) * b + torch.exp(-(c**2)) + 0.5 * d * a
    return _problem(seed, (4, 5, 5, 1) if tiny else (4, 20, 20, 1), nn.Tanh, x, targets.unsqueeze(1))


def wide(seed: int, tiny: bool, *, hidden: int) -> Problem:
    return _random(seed, (20, 5, 3) if tiny else (45_120, hidden, 3), 8 if tiny else 38)


def large(seed: int, tiny: bool) -> Problem:
    return _random(seed, (10, 30, 30, 1) if tiny else (1000, 2700, 2700, 1), 20 if tiny else 2000)


def _random(seed: int, widths: Sequence[int], rows: int) -> Problem:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(rows, widths[0], generator=generator)
    return _problem(seed, widths, nn.ReLU, inputs, torch.randn(rows, widths[-1], generator=generator))


def _problem(
    seed: int, widths: Sequence[int], activation: Callable[[], nn.Module], inputs: Tensor, targets: Tensor
) -> Problem:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after, dtype=inputs.dtype), activation()]
    return Problem(nn.Sequential(*layers[:-1]), inputs, targets, MSELoss())


class Over(Exception):
    """A training has reached its target or the end of patience."""


@dataclass
class Watch:
    """Steps, seconds and the last loss of a training; it raises `Over` when there is enough of them.

    Attributes:
        most: steps.
    """

    target: float
    patience: float = math.inf
    most: int = MANY
    steps: int = 0
    loss: float = math.inf
    _taken: float = 0.0
    _since: float | None = None

    @property
    def seconds(self) -> float:
        return self._taken + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def reached(self) -> bool:
        return self.loss <= self.target

    def resume(self) -> None:
        self._since = time.perf_counter()

    def pause(self) -> None:
        self._taken, self._since = self.seconds, None

    def look(self, loss: float) -> None:
        """Take note of a loss that parameters have now."""
        self.loss = loss
        if self.reached or not math.isfinite(loss) or self.steps >= self.most or self.seconds > self.patience:
            self.pause()
            raise Over


def in_batches(take_step: Callable[[Tensor, Tensor], object], on: Problem, batch: int | None, watch: Watch) -> None:
    """Step after step on batches of so many rows, drawn anew every epoch; None: on all rows."""
    rows = batches(len(on.inputs), batch)
    while True:
        chosen = next(rows)
        inputs, targets = (on.inputs, on.targets) if chosen is None else (on.inputs[chosen], on.targets[chosen])
        watch.resume()
        take_step(inputs, targets)
        watch.pause()
        watch.steps += 1
        watch.look(loss_of(on))


def batches(rows: int, batch: int | None) -> Iterator[Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    while True:
        if batch is None or batch >= rows:
            yield None
        else:
            yield from torch.randperm(rows, generator=generator).split(batch)


@torch.no_grad()
def loss_of(on: Problem) -> float:
    return float(on.loss(on.model(on.inputs), on.targets))


def by_ours(on: Problem, watch: Watch, *, batch: int | None = None, **options: Any) -> None:
    optimizer = revgn.LevenbergMarquardt(on.model, on.loss, **options)
    in_batches(optimizer.step, on, batch, watch)


def by_package(on: Problem, watch: Watch, *, batch: int | None = None, **options: Any) -> None:
    module = package.training_module(on, **options)
    in_batches(module.training_step, on, batch, watch)


def by_adamw(on: Problem, watch: Watch, *, lr: float, batch: int | None = None) -> None:
    optimizer = AdamW(on.model.parameters(), lr=lr, fused=True)

    def step(inputs: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad()
        plain_loss(on.model(inputs), targets).backward()
        optimizer.step()

    in_batches(step, on, batch, watch)


def plain_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (outputs - targets).square().sum(1).mean()


def by_lbfgs(on: Problem, watch: Watch, *, history_size: int) -> None:
    first, *_ = parameters = list(on.model.parameters())
    # Its tolerances end it long before these losses; here the watch does.
    optimizer = LBFGS(
        parameters, history_size=history_size, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        loss = plain_loss(on.model(on.inputs), on.targets)
        watch.steps = max(0, optimizer.state[first].get("n_iter", 0) - 1)  # the one that this pass is of is not done
        watch.look(float(loss.detach()))
        loss.backward()
        return loss

    watch.resume()
    while True:
        optimizer.step(evaluate)


def by_scipy(on: Problem, watch: Watch, *, method: str, **options: Any) -> None:
    from scipy.optimize import least_squares

    model, targets = on.model.double(), on.targets.double()
    inputs, rows = on.inputs.double(), len(on.inputs)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    start = torch.cat([p.detach().flatten() for p in model.parameters()])

    def outputs(theta: Tensor, x: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return functional_call(model, named, (x,))

    by_rows = vmap(jacrev(lambda theta, x: outputs(theta, x.unsqueeze(0)).squeeze(0)), in_dims=(None, 0))

    def residuals(theta: Any) -> Any:
        with torch.no_grad():
            found = (outputs(torch.from_numpy(theta), inputs) - targets).flatten()
        watch.look(0.5 * float(found.square().sum()) / rows)
        return found.numpy()

    def jacobian(theta: Any) -> Any:
        watch.steps += 1
        return by_rows(torch.from_numpy(theta), inputs).flatten(0, 1).detach().numpy()

    watch.resume()
    ends = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15)
    least_squares(residuals, start.numpy(), jac=jacobian, method=method, max_nfev=MANY, **ends, **options)
    watch.pause()


def _settings(**choices: Sequence[Any]) -> list[dict[str, Any]]:
    """Every combination."""
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


METHODS: Mapping[str, Callable[..., None]] = {
    OURS: by_ours,
    package.NAME: by_package,
    TRF: by_scipy,
    MINPACK: by_scipy,
    BFGS: by_lbfgs,
    ADAMW: by_adamw,
}
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
