"""How long does training take to a full-batch loss, by Gauss-Newton and by torch's own optimizers?

    python benchmarks/time_to_loss.py [mse cross-entropy] [--hidden 8000] [--patience 60] [--plot docs]
    python benchmarks/time_to_loss.py cross-entropy --hidden 2000    with steps as long as the line search makes them

1024 rows of Fashion-MNIST (of digits where it cannot be had) at once, the authors' MNIST network, squared error and
cross-entropy, from the same start. Every method gets the best setting of a grid, in steps of half a decade: all are
tried for a few seconds, and while the best lies at the edge the grid is widened; the best two go on, and the better of
them to the end. The grid is of learning rates; of Gauss-Newton with the exact curvature of cross-entropy it is of
dampings, at learning rate 1. Squared error needs neither, nor does a line search: it is shown with the defaults, with
the right inverse "adjoint", and with the exact curvature at damping 0.1.

The clock of a method runs while it trains, from its first step. A loss counts as reached when the parameters that have
it are there, whoever measures it; LBFGS, which takes several passes a step, may count any of them. First-order methods
run on a plain rewriting of the network for autograd with fused updates; SGD has momentum 0.9, Muon leaves biases to
AdamW as its authors do, LBFGS searches along lines by the strong Wolfe conditions.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import LBFGS, SGD, Adam, AdamW, Muon, Optimizer

import problems
import revgn
from figures import time_to_loss_figure
from problems import Problem
from results import Benchmark, Check, Column, Result, Row, at_least, require_known
from revgn.control import LineSearch
from revgn.losses import CrossEntropyLoss, MSELoss
from trials import Patience, Record, TrainingStep, Trial, best_of, best_so_far, thinned

TARGETS = (1e-1, 1e-2, 1e-3, 1e-6)
ROWS, TINY_ROWS, SEED = 1024, 64, 42
CLOSED = "GaussNewton"
SEARCHED = f"{CLOSED}, line search"


@dataclass(frozen=True)
class Method:
    """How to start training with a value of what the grid is of ("lr" or "damping").

    Attributes:
        start: from a new problem and a value of the grid to a step of training.
        grid: a single value where there is nothing to choose.
    """

    start: Callable[[Problem, float], TrainingStep]
    grid: tuple[float, ...]
    of: str = "lr"


def by_gradient(make: Callable[[torch.nn.Module, float], list[Optimizer]], problem: Problem, lr: float) -> TrainingStep:
    """Training by autograd with the optimizers that `make` gives; closures record, so that LBFGS's passes count."""
    optimizers = make(problem.model, lr)
    forward = problems.plain_forward(problem.model)

    def evaluate(record: Record) -> Tensor:
        began = time.perf_counter()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = plain_loss(problem, forward(problem.inputs))
        loss.backward()
        record(began, loss.item())
        return loss

    def step(record: Record) -> None:
        first, *others = optimizers
        first.step(lambda: evaluate(record))
        for optimizer in others:  # of other parameters, by the gradients that are there
            optimizer.step()

    return step


def plain_loss(problem: Problem, outputs: Tensor) -> Tensor:
    """The problem's loss, by torch alone."""
    if isinstance(problem.loss, CrossEntropyLoss):
        return functional.cross_entropy(outputs, problem.targets)
    return 0.5 * (outputs - problem.targets).square().sum(1).mean()


def by_gauss_newton(problem: Problem, lr: float = 1.0) -> TrainingStep:
    """Training by `revgn.GaussNewton`."""
    optimizer = revgn.GaussNewton(problem.model, problem.loss, lr=lr)

    def step(record: Record) -> None:
        began = time.perf_counter()
        report = optimizer.backward(problem.inputs, problem.targets)
        optimizer.step()
        record(began, report.loss)

    return step


def by_exact_curvature(problem: Problem, damping: float) -> TrainingStep:
    """The same with H = diag(p) - p p^T + damping."""
    loss = CrossEntropyLoss(curvature="exact", damping=damping)
    return by_gauss_newton(Problem(problem.model, problem.inputs, problem.targets, loss))


def by_line_search(problem: Problem, damping: float, **options: Any) -> TrainingStep:
    """Training by `revgn.GaussNewton` with steps as long as the loss falls; damping 0: H = I."""
    loss = CrossEntropyLoss(curvature="exact", damping=damping) if damping else problem.loss
    optimizer = revgn.GaussNewton(problem.model, loss, control=LineSearch(), **options)

    def step(record: Record) -> None:
        began = time.perf_counter()
        report = optimizer.step(problem.inputs, problem.targets)
        if not report.accepted:
            raise FloatingPointError("no length of the step lowers the loss")
        record(began, report.loss)
        # The loss of the parameters that the step leaves is known when it ends: it was tried on all rows.
        record(time.perf_counter(), report.new_loss)

    return step


def muon(model: torch.nn.Module, lr: float) -> list[Optimizer]:
    """Muon for matrices, AdamW for the rest."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    return [Muon(matrices, lr=lr), AdamW([p for p in model.parameters() if p.ndim != 2], lr=lr)]


def lbfgs(model: torch.nn.Module, lr: float) -> list[Optimizer]:
    """LBFGS with a line search."""
    return [LBFGS(model.parameters(), lr=lr, max_iter=10, line_search_fn="strong_wolfe")]


def single(kind: Callable[..., Optimizer], **options: Any) -> Callable[[torch.nn.Module, float], list[Optimizer]]:
    """One optimizer for everything."""
    return lambda model, lr: [kind(model.parameters(), lr=lr, **options)]


FIRST_ORDER = {
    "SGD": Method(functools.partial(by_gradient, single(SGD, momentum=0.9, fused=True)), (0.01, 0.03, 0.1)),
    "Adam": Method(functools.partial(by_gradient, single(Adam, fused=True)), (3e-4, 1e-3, 3e-3)),
    "AdamW": Method(functools.partial(by_gradient, single(AdamW, fused=True)), (3e-4, 1e-3, 3e-3)),
    "Muon": Method(functools.partial(by_gradient, muon), (1e-3, 1e-2, 1e-1)),
    "LBFGS": Method(functools.partial(by_gradient, lbfgs), (0.3, 1.0, 3.0)),
}
METHODS: Mapping[str, Mapping[str, Method]] = {
    "mse": {CLOSED: Method(by_gauss_newton, (1.0,))} | FIRST_ORDER,
    "cross-entropy": {
        f"{CLOSED}, H = I": Method(by_gauss_newton, (1.0, 3.0, 10.0)),
        f"{CLOSED}, exact H": Method(by_exact_curvature, (0.01, 0.1, 1.0), "damping"),
        SEARCHED: Method(by_line_search, (0.0,), "damping"),
        f"{SEARCHED}, exact H": Method(by_line_search, (0.1,), "damping"),
        f"{SEARCHED}, adjoint": Method(functools.partial(by_line_search, right_inverse="adjoint"), (0.0,), "damping"),
    }
    | FIRST_ORDER,
}
LOSSES = {"mse": MSELoss, "cross-entropy": CrossEntropyLoss}
# loss, method, training loss that is to be reached, and how many times sooner
CLAIMS = (("mse", CLOSED, 1e-3, 10), ("cross-entropy", SEARCHED, 1e-6, 3))
CLAIMED = {"mse": "squared error", "cross-entropy": "cross-entropy"}
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("loss", "loss", width=13),
        Column("method", "method", width=32),
        Column("setting", "setting", width=15),
        Column("pace", "s/step", ".3f", 7),
        *(Column(f"shown_{target:g}", f"s to {target:g}", width=10) for target in TARGETS),
        Column("steps", "steps", "d", 6),
        Column("reached", "loss then", ".1e"),
    ],
    time_to_loss_figure,
)


def measured(loss: str, rows: int, hidden: int, patience: Patience) -> list[Row]:
    """A row for each method."""
    found: list[Row] = []
    for name, method in METHODS[loss].items():

        def start(value: float, method: Method = method) -> Trial:
            network = {"num_blocks": 2, "hidden_features": hidden}
            problem = problems.image_problem(rows, seed=SEED, loss=LOSSES[loss](), **network)
            return Trial(value, method.start(problem, value))

        if len(method.grid) == 1:
            trials = [start(*method.grid)]
            trials[0].go_on(patience.last, min(TARGETS))
        else:
            trials = best_of(method.grid, start, min(TARGETS), patience)
        found.append({"data": problems.images(rows, SEED).name} | row_of(loss, name, method.of, trials))
        BENCHMARK.show(found[-1:])
    return found


def row_of(loss: str, name: str, of: str, trials: Sequence[Trial]) -> Row:
    """The best trial, with what became of the others."""
    best = trials[0]
    times = {target: best.time_to(target) for target in TARGETS}
    return {
        "loss": loss,
        "method": name,
        "setting": f"{of} {best.setting:.2g}",
        "pace": best.seconds / max(1, best.steps),
        **{f"time_{target:g}": seconds for target, seconds in times.items()},
        **{f"shown_{target:g}": shown(seconds, best) for target, seconds in times.items()},
        "steps": best.steps,
        "seconds": best.seconds,
        "reached": min((loss for _, loss in best.curve), default=None),
        "curve": thinned(best_so_far(best.curve)),
        "tried": [
            {of: trial.setting, "seconds": trial.seconds, "loss": None if trial.failed else trial.loss}
            for trial in sorted(trials, key=lambda trial: trial.setting)
        ],
    }


def shown(seconds: float | None, trial: Trial) -> str:
    """A time, or that it was not reached in the time that there was."""
    if seconds is not None:
        return f"{seconds:.2f}"
    return "failed" if trial.failed else f"> {trial.seconds:.0f}"


def checks(rows: Sequence[Row]) -> list[Check]:
    """Each loss to its target, beside the first of torch's optimizers there, or the longest time that one was given."""
    return [sooner(rows, *claim) for claim in CLAIMS]


def sooner(rows: Sequence[Row], loss: str, ours: str, target: float, times: float) -> Check:
    """How many times sooner than the best of torch's optimizers a method reaches the target."""
    claim = f"{CLAIMED[loss]} to {target:g}: {ours} sooner than the best of torch's"
    key = f"time_{target:g}"
    chosen = {row["method"]: row for row in rows if row["loss"] == loss}
    if not chosen:
        return at_least(claim, None, times)
    if chosen[ours][key] is None:
        return Check(f"{claim}, which was not reached", None, False)
    torchs = [chosen[name] for name in FIRST_ORDER]
    if not any(row[key] for row in torchs):
        claim += ", none of which got there"
    soonest = min(row[key] or row["seconds"] for row in torchs)
    return at_least(f"{claim}, times", soonest / max(chosen[ours][key], 1e-9), times)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("losses", nargs="*", metavar="LOSS", help=f"of {', '.join(LOSSES)}; default: both")
    parser.add_argument("--hidden", type=int, default=8000, metavar="H", help="features; default: %(default)s")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for the best; default: %(default)g")
    parser.add_argument("--screening", type=float, default=6.0, help="seconds for all; default: %(default)g")
    arguments = parser.parse_args(argv)
    require_known(parser, "loss", arguments.losses, LOSSES)
    patience = Patience(arguments.screening, 3 * arguments.screening, arguments.patience)
    rows_of_batch, hidden = ROWS, arguments.hidden
    if arguments.tiny:
        patience, rows_of_batch, hidden = Patience(0.01, 0.02, 0.05, least_passes=2), TINY_ROWS, 100

    def measure_all() -> Result:
        rows: list[Row] = []
        for loss in arguments.losses or LOSSES:
            rows += measured(loss, rows_of_batch, hidden, patience)
        return Result(rows, [] if arguments.tiny else checks(rows))

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
