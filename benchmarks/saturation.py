"""On mini-batches the talk's step soon stops learning: which of four changes lets it go on?

    python benchmarks/saturation.py [--epochs 5] [--seeds 3] [--plot docs] [--out runs/benchmarks]

RevMLP(784, 10, 2 blocks, h 1024) on 16,500 rows of Fashion-MNIST (digits where it cannot be had) in batches of 512,
cross-entropy with H = I, float32. The talk's step solves each batch on its own by the inverse network, with a learning
rate that stays. Changed are

- adjoint: the right inverse, which leaves the inverse network alone;
- memory: `RunningCurvature()` in place of a solve of each batch;
- smoothing: of labels, by 0.1;
- decay: a learning rate that falls to zero along a cosine;

each of them alone, all but one, and all four. Every combination has the best of four learning rates by the validation
accuracy at its end (1,500 rows, another seed than those that are shown). `loss` is the cross-entropy, without
smoothing, on 5,000 of the training rows after the last epoch, `went on` what that is of the loss after the second
epoch: 1 is saturated. Test accuracies are of 5,000 rows. Means over seeds.

A row is written as soon as it is there, and rows that the JSON file holds already, of the same plan, are kept.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import revgn
from epochs import Part, Point, train, tuned
from figures import saturation_figure
from image_training import Data, Sizes, build, split
from mini_batch_methods import by_gauss_newton
from results import Benchmark, Check, Column, Result, Row, at_most
from spaces import Setting

CHANGES = ("adjoint", "memory", "smoothing", "decay")
SETTINGS: Sequence[tuple[str, ...]] = [
    (),
    *((change,) for change in CHANGES),
    *(tuple(other for other in CHANGES if other != change) for change in CHANGES),
    CHANGES,
]
# Learning rates to choose from: see `rates`.
ALONE, REMEMBERING, TOGETHER = (0.1, 0.3, 1.0, 3.0), (0.5, 1.0, 1.5, 3.0), (2.5, 5.0, 10.0, 20.0)
BATCH, JUDGED, EARLY = 512, 5_000, 2
FULL = Sizes(18_000, {"RevMLP": 1024})
TINY = Sizes(480, {"RevMLP": 100}, shrink=8)
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("setting", "changed", width=36),
        Column("lr", "lr", "g", 4),
        Column("early", f"after {EARLY}", ".3f", 7),
        Column("loss", "loss", ".3f", 6),
        Column("lowest", "from", ".3f", 6),
        Column("highest", "to", ".3f", 6),
        Column("went_on", "went on", ".2f", 7),
        Column("training", "train acc.", ".3f", 10),
        Column("test", "test acc.", ".4f", 9),
    ],
    saturation_figure,
)


@dataclass(frozen=True)
class Budget:
    """What every combination gets."""

    epochs: int
    seeds: int


def options(changed: Sequence[str]) -> dict[str, Any]:
    """Of `GaussNewton`."""
    found: dict[str, Any] = {"right_inverse": "adjoint" if "adjoint" in changed else "reversible"}
    return found | ({"solver": revgn.solvers.RunningCurvature()} if "memory" in changed else {})


def rates(changed: Sequence[str]) -> tuple[float, ...]:
    """The learning rates to choose from: with memory the adjoint divides the step by what its layers move together."""
    if "memory" not in changed:
        return ALONE
    return TOGETHER if "adjoint" in changed else REMEMBERING


def measured(changed: Sequence[str], data: Data, sizes: Sizes, budget: Budget) -> Row:
    """The trials of a combination, and the courses of its best learning rate from other seeds."""
    some, test = (Part(part.inputs[:JUDGED], part.classes[:JUDGED]) for part in (data.training, data.test))
    judges = {"training": some, "validation": data.validation, "test": test}

    def run(setting: Setting, seed: int, judges: Mapping[str, Part]) -> list[Point]:
        learner = by_gauss_newton(lambda _: options(changed), build("RevMLP", data, sizes, seed), setting)
        return train(
            learner,
            data.training,
            judges,
            batch=BATCH // sizes.shrink,
            epochs=budget.epochs,
            seed=seed,
            decay="decay" in changed,
        )

    smoothing = 0.1 if "smoothing" in changed else 0.0
    settings: list[Setting] = [{"lr": lr, "smoothing": smoothing} for lr in rates(changed)]
    tried, chosen, curves = tuned(run, settings, judges, budget.seeds)
    losses = [curve[-1]["training_loss"] for curve in curves]
    early = [next(p["training_loss"] for p in curve if p["epochs"] >= EARLY) for curve in curves]
    return {
        "setting": ", ".join(changed) or "none: the talk's",
        "changed": list(changed),
        "lr": chosen["lr"],
        "early": statistics.fmean(early),
        "loss": statistics.fmean(losses),
        "lowest": min(losses),
        "highest": max(losses),
        "went_on": statistics.fmean(last / first for last, first in zip(losses, early, strict=True)),
        "training": statistics.fmean(curve[-1]["training"] for curve in curves),
        "test": statistics.fmean(curve[-1]["test"] for curve in curves),
        "curves": curves,
        "tried": [{"lr": trial["setting"]["lr"], "curve": trial["curve"]} for trial in tried],
    }


def plan(changed: Sequence[str], data: Data, budget: Budget) -> Row:
    """All that decides what a row holds, but for the code."""
    return {"data": data.name, "rates": list(rates(changed)), "epochs": budget.epochs, "seeds": budget.seeds}


def result_of(found: Mapping[tuple[str, ...], Row], tiny: bool) -> Result:
    """The rows in their order, and once all are there what follows from them."""
    rows = [found[changed] for changed in SETTINGS if changed in found]
    if tiny or len(rows) < len(SETTINGS):
        return Result(rows)
    notes = [
        f"{change}: the loss times {alone:.2f} by itself, times {last:.2f} beside the three others."
        for change, (alone, last) in effects(rows).items()
    ]
    return Result(rows, checks(rows), notes)


def effects(rows: Sequence[Row]) -> Mapping[str, tuple[float, float]]:
    """What each change does to the loss after the last epoch: by itself, and as the last of the four; 1 is nothing."""
    loss = {frozenset(row["changed"]): row["loss"] for row in rows}
    every = frozenset(CHANGES)
    return {
        change: (loss[frozenset([change])] / loss[frozenset()], loss[every] / loss[every - {change}])
        for change in CHANGES
    }


def checks(rows: Sequence[Row]) -> list[Check]:
    """All four together must leave saturation behind, from every seed."""
    by_name = {tuple(row["changed"]): row for row in rows}
    talk, ours = by_name[()], by_name[CHANGES]
    return [
        at_most(
            "all four: highest training loss of a seed, of the talk's lowest", ours["highest"] / talk["lowest"], 1.0
        ),
        at_most("all four: training loss after the last epoch, of that after the second", ours["went_on"], 0.9),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the JSON file does not hold yet, print a table, and write it."""
    parser = BENCHMARK.parser()
    parser.add_argument("--epochs", type=int, default=5, help="of every run; default: %(default)d")
    parser.add_argument("--seeds", type=int, default=3, help="runs of the best learning rate; default: %(default)d")
    arguments = parser.parse_args(argv)
    if arguments.epochs < EARLY:
        parser.error(f"--epochs: expected {EARLY} or more, got {arguments.epochs}")
    sizes, budget = TINY if arguments.tiny else FULL, Budget(arguments.epochs, arguments.seeds)

    def measure_all() -> Result:
        data = split(sizes)
        plans = {changed: plan(changed, data, budget) for changed in SETTINGS}
        kept = {tuple(row["changed"]): row for row in BENCHMARK.kept(arguments)}
        return BENCHMARK.complete(
            arguments,
            {changed: row for changed, row in kept.items() if row["plan"] == plans[changed]},
            plans,
            lambda changed: measured(changed, data, sizes, budget),
            lambda rows: result_of(rows, arguments.tiny),
        )

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
