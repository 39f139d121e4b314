"""Does the training loss ever rise under a trust region, from weights of any size?

    python benchmarks/monotone.py [digits fashion-mnist] [--steps 200] [--hidden 2000] [--out runs/benchmarks]

All rows at once (1,024), the authors' network of two blocks, squared error and cross-entropy (its curvature taken as
the identity), learning rate 1, initial weights of standard deviation 1e-3 to 1, `TrustRegion()` with its defaults. The
loss after each step is measured anew and compared with the one before. Beside it the first steps without any control:
what the trust region is there for. Rows that the JSON file holds already, of the same plan, are kept.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import problems
import revgn
from problems import Problem
from results import Benchmark, Check, Column, Result, Row, at_least, at_most, require_known
from revgn.control import TrustRegion
from revgn.losses import CrossEntropyLoss, MSELoss

Key = tuple[str, str, float]  # data, loss, standard deviation of the initial weights
DATA = ("digits", "fashion-mnist")
LOSSES = {"mse": MSELoss, "cross-entropy": CrossEntropyLoss}
SCALES = (1e-3, 1e-2, 1e-1, 1.0)
UNCONTROLLED_STEPS = 5
SEED = 42
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("data", "data", width=14),
        Column("loss", "loss", width=14),
        Column("init_std", "init std", "g"),
        Column("first", "first", ".3g"),
        Column("last", "last", ".3g"),
        Column("steps", "steps", "d", 6),
        Column("accepted", "accepted", "d"),
        Column("rises", "rises", "d", 6),
        Column("free", "without, largest", ".3g", 17),
    ],
)


def make(data: str, loss: str, init_std: float, rows: int, hidden: int) -> Problem:
    """The network and the batch, the same each time."""
    return problems.image_problem(
        rows, seed=SEED, loss=LOSSES[loss](), data=data, num_blocks=2, hidden_features=hidden, init_std=init_std
    )


def controlled(problem: Problem, steps: int) -> Row:
    """Steps under the trust region: the losses at both ends, and how often the loss rose."""
    optimizer = revgn.GaussNewton(problem.model, problem.loss, control=TrustRegion())
    losses = [problems.training_loss(problem)]
    accepted = 0
    for _ in range(steps):
        accepted += optimizer.step(problem.inputs, problem.targets).accepted
        losses.append(problems.training_loss(problem))
    rises = sum(not after <= before for before, after in itertools.pairwise(losses))  # NaN is a rise, too
    return {"first": losses[0], "last": losses[-1], "steps": steps, "accepted": accepted, "rises": rises}


def largest_without(problem: Problem) -> float:
    """The largest loss of the first steps without a control; infinity where one is not finite."""
    step = problem.gauss_newton()
    largest = 0.0
    for _ in range(UNCONTROLLED_STEPS):
        try:
            largest = max(largest, step().loss)
        except FloatingPointError:
            return math.inf
    return largest


def measured(key: Key, rows: int, hidden: int, steps: int) -> Row:
    """The row of a setting."""
    row: Row = dict(zip(("data", "loss", "init_std"), key, strict=True))
    row |= controlled(make(*key, rows, hidden), steps)
    return row | {"free": largest_without(make(*key, rows, hidden))}


def result_of(rows: Mapping[Key, Row], tiny: bool) -> Result:
    """The rows in the order of the settings, with checks."""
    ordered = [rows[key] for key in itertools.product(DATA, LOSSES, SCALES) if key in rows]
    return Result(ordered, [] if tiny else checks(ordered))


def checks(rows: Sequence[Row]) -> list[Check]:
    """No rise anywhere, and at least one setting that needs the control."""
    return [
        at_most("rises of the training loss under the trust region, all settings", sum(r["rises"] for r in rows), 0),
        at_least("settings whose loss more than doubles without it", sum(r["free"] > 2 * r["first"] for r in rows), 1),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("data", nargs="*", metavar="DATA", help=f"of {', '.join(DATA)}; default: both")
    parser.add_argument("--steps", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--hidden", type=int, default=2000, metavar="H", help="features; default: %(default)s")
    arguments = parser.parse_args(argv)
    require_known(parser, "data set", arguments.data, DATA)
    sizes = (64, 100, 3) if arguments.tiny else (1024, arguments.hidden, arguments.steps)
    plan: Row = dict(zip(("rows", "hidden", "steps"), sizes, strict=True))
    keys = list(itertools.product(arguments.data or DATA, LOSSES, SCALES))

    def measure_all() -> Result:
        kept = {(row["data"], row["loss"], row["init_std"]): row for row in BENCHMARK.kept(arguments)}
        return BENCHMARK.complete(
            arguments,
            {key: row for key, row in kept.items() if row["plan"] == plan},
            dict.fromkeys(keys, plan),
            lambda key: measured(key, *sizes),
            lambda rows: result_of(rows, arguments.tiny),
        )

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
