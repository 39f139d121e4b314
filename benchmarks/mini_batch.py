"""How far does a network get on mini-batches, by epoch and by second, when every method is tuned alike?

    python benchmarks/mini_batch.py [Adam FOOF ...] [--networks MLP] [--epochs 5] [--trials 5] [--seeds 3] [--plot docs]

Fashion-MNIST (digits where it cannot be had): 55,000 rows to train on, 5,000 for validation, 10,000 for testing.
RevMLP(784, 10, 2 blocks, h 2000) and a plain MLP 784-1024-1024-10, cross-entropy, batches of 1024, learning rates that
fall to zero along a cosine. Every method gets the same number of trials: points of a scrambled Sobol sequence in a
space that the JSON file states, label smoothing among what may be chosen. The setting with the highest validation
accuracy at the end is trained again from other seeds, and only then are test rows looked at. "best" is the test
accuracy at the mark where the mean validation accuracy is highest.

Accuracies are taken three times in the first epoch and after each. Time is counted in epochs of Adam with batches of
1024: what an epoch costs beside one of those is measured in pairs, so that whatever else the machine does while the
accuracies are found does not matter; `--costs` measures it anew for the rows that are there, which a quiet machine
does better. Epochs and time to a validation accuracy are medians over seeds, infinite where a seed does not get there,
which is how AlgoPerf scores. First-order
methods run on a plain rewriting of the network for autograd; Adam, AdamW and SGD, whose updates are cheap, may choose
batches of 256.

A run of everything takes hours. A row is written as soon as it is there, and rows that the JSON file holds already, of
the same plan, are kept: parts can be run one by one, and what was cut off goes on. Rows of other numbers of epochs stay
beside each other: a method whose epochs are short may need more of them to be compared by second.
"""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

import measure
from epochs import TRIAL_SEED, Learner, Part, Point, train, tuned
from figures import mini_batch_figure
from image_training import Data, Sizes, build, split
from mini_batch_methods import DEFAULT, METHODS, OF_REVGN, OURS
from results import Benchmark, Check, Column, Result, Row, at_least, at_most, require_known
from revgn_lab.runs.environment import environment
from spaces import Setting, draw, in_words, stated

Key = tuple[str, str, int]  # network, method, epochs
BATCH = 1024
SHOWN_EPOCHS = (1, 2, 3, 5)
TARGETS = (0.88, 0.89)  # validation accuracies
PACED_BATCHES = 20  # what is refreshed now and then is refreshed once in these
FULL = Sizes(60_000, {"RevMLP": 2000, "MLP": 1024})
TINY = Sizes(480, {"RevMLP": 100, "MLP": 100}, shrink=16)


@dataclass(frozen=True)
class Budget:
    """What every method gets."""

    epochs: int
    trials: int
    seeds: int
    pairs: int


BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("network", "network", width=7),
        Column("method", "method", width=15),
        Column("epochs", "epochs", "d", 6),
        Column("validation", "valid.", ".4f", 6),
        *(Column(f"test_{epoch}", f"test {epoch}", ".4f", 6) for epoch in SHOWN_EPOCHS),
        Column("best", "best", ".4f", 6),
        Column("ratio", "cost", ".2f", 5),
        *(Column(f"shown_{target:g}", f"cost (epochs) to {target:g}", width=22) for target in TARGETS),
        Column("setting", "setting"),
    ],
    mini_batch_figure,
)


def batch_of(setting: Setting, sizes: Sizes) -> int:
    """Rows in a batch."""
    return int(setting.get("batch", BATCH)) // sizes.shrink


def measured(network: str, name: str, data: Data, sizes: Sizes, budget: Budget) -> Row:
    """The trials of a method, and what its best setting reaches from other seeds."""
    method = METHODS[name]
    began = time.perf_counter()

    def run(setting: Setting, seed: int, judges: Mapping[str, Part]) -> list[Point]:
        learner = method.start(build(network, data, sizes, seed), setting)
        batch = batch_of(setting, sizes)
        return train(learner, data.training, judges, batch=batch, epochs=budget.epochs, seed=seed)

    judges = {"validation": data.validation, "test": data.test}
    tried, chosen, curves = tuned(run, draw(method.space, budget.trials), judges, budget.seeds)
    ratio = ratio_to_adam(network, name, chosen, data, sizes, budget.pairs)
    return {
        "network": network,
        "method": name,
        "epochs": budget.epochs,
        "setting": in_words(chosen),
        "chosen": chosen,
        **summary(curves, ratio),
        "curves": curves,
        "tried": tried,
        "environment": environment(),
        "seconds": time.perf_counter() - began,
    }


def summary(curves: Sequence[Sequence[Point]], ratio: float) -> Row:
    """What the table says of the curves of several seeds, and of the cost of an epoch beside one of Adam's."""
    means = mean_curve(curves)
    row: Row = {"validation": means[-1]["validation"]}
    row |= {f"test_{point['epochs']:g}": point["test"] for point in means if point["epochs"] >= 1}
    row |= {"best": best_point(means)["test"], "ratio": ratio}
    for target in TARGETS:
        needed = median_to(curves, target)
        row[f"epochs_to_{target:g}"] = needed
        row[f"shown_{target:g}"] = "not reached" if needed is None else f"{needed * ratio:.2f} ({needed:g})"
    return row


def mean_curve(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """The mean over seeds of everything at each mark."""
    return [
        {key: statistics.fmean(point[key] for point in points) for key in points[0]}
        for points in zip(*curves, strict=True)
    ]


def best_point(means: Sequence[Point]) -> Point:
    """Where the validation accuracy is highest."""
    return max(means, key=lambda point: point["validation"])


def median_to(curves: Sequence[Sequence[Point]], target: float) -> float | None:
    """The median over seeds of the epochs to a validation accuracy; None where that is infinite."""
    reached = [next((p["epochs"] for p in curve if p["validation"] >= target), math.inf) for curve in curves]
    median = statistics.median(reached)
    return None if math.isinf(median) else median


def ratio_to_adam(network: str, name: str, setting: Setting, data: Data, sizes: Sizes, pairs: int) -> float:
    """What the same rows cost, by Adam's batches of 1024 and by the method's, in turns; the median of the ratios."""
    contestants = {"method": (name, setting), "Adam": ("Adam", {"lr": 1e-3, "smoothing": 0.0})}
    stretches: dict[str, measure.Step] = {}
    for label, (method, values) in contestants.items():
        slow = values | {"lr": values["lr"] / 1000}  # without the cosine it must not leave where it is
        learner = METHODS[method].start(build(network, data, sizes, TRIAL_SEED), slow)
        stretches[label] = stretch(
            learner, data.training, batch_of(values, sizes), PACED_BATCHES * BATCH // sizes.shrink
        )
        stretches[label]()  # warmed up
    times = measure.in_turns(stretches, pairs)
    return times["method"].ratios(times["Adam"]).median


def stretch(learner: Learner, rows: Part, batch: int, count: int) -> measure.Step:
    """Training on the first `count` rows, again from the first where there are fewer."""
    chosen = torch.arange(count, device=rows.classes.device) % len(rows.classes)

    def step() -> None:
        for some in chosen.split(batch):
            learner.step(rows.inputs[some], rows.classes[some])

    return step


def wanted(networks: Sequence[str], names: Sequence[str], data: Data, sizes: Sizes, budget: Budget) -> dict[Key, Row]:
    """The plans of the rows that are asked for: every method that exists for a network."""
    return {
        (network, name, budget.epochs): plan(network, name, data, sizes, budget)
        for network in networks
        for name in names or [name for name, method in METHODS.items() if method.installed]
        if network == "RevMLP" or not METHODS[name].reversible
    }


def plan(network: str, name: str, data: Data, sizes: Sizes, budget: Budget) -> Row:
    """All that decides what a row holds, but for the code."""
    features, space = sizes.features[network], stated(METHODS[name].space)
    return {"data": data.name, "features": features, "trials": budget.trials, "seeds": budget.seeds, "space": space}


def checks(rows: Sequence[Row]) -> list[Check]:
    """What the adjoint with running curvature is held to as it comes, and beside the best baseline."""
    chosen = [row for row in rows if (row["network"], row["method"], row["epochs"]) == ("RevMLP", DEFAULT, 5)]
    row = chosen[0] if chosen else {}
    found = [
        at_least(f"RevMLP, {DEFAULT}: mean test accuracy after one epoch", row.get("test_1"), 0.880),
        at_least(f"RevMLP, {DEFAULT}: mean test accuracy after five epochs", row.get("test_5"), 0.896),
        at_most(f"RevMLP, {DEFAULT}: time of an epoch, of Adam's", row.get("ratio"), 1.5),
    ]
    margins = [margin.lead for network in FULL.features if (margin := beside_the_best(rows, network))]
    claim = "test accuracy less the best baseline's best, at its cost, on the better of the networks"
    return [*found, at_least(claim, max(margins, default=None), 0.0)]


@dataclass(frozen=True)
class Margin:
    """The best of the baselines, and ours when it gets there."""

    network: str
    baseline: str
    cost: float
    accuracy: float
    ours: float

    @property
    def lead(self) -> float:
        return self.ours - self.accuracy

    def __str__(self) -> str:
        return (
            f"{self.network}: the best baseline is {self.baseline}, {self.accuracy:.4f} at the cost of {self.cost:.1f} "
            f"epochs of Adam; the adjoint with running curvature has {self.ours:.4f} by then."
        )


def beside_the_best(rows: Sequence[Row], network: str) -> Margin | None:
    """At equal cost: whatever number of epochs the rows were planned for; None without rows of both kinds."""
    here = [row for row in rows if row["network"] == network]
    ours = [(point, row) for row in here if row["method"] in OURS for point in mean_curve(row["curves"])]
    baselines = [(best_point(mean_curve(row["curves"])), row) for row in here if row["method"] not in OF_REVGN]
    if not ours or not baselines:
        return None
    point, row = max(baselines, key=lambda baseline: baseline[0]["test"])
    cost = point["epochs"] * row["ratio"]
    by_then = [each for each, mine in ours if each["epochs"] * mine["ratio"] <= cost]
    reached = best_point(by_then)["test"] if by_then else 0.0
    return Margin(network, f"{row['method']}, {row['epochs']} epochs", cost, point["test"], reached)


def result_of(rows: Mapping[Key, Row], tiny: bool) -> Result:
    """The rows in the order of networks and methods, with checks and what is to be said beside them."""
    networks, methods = list(FULL.features), list(METHODS)
    ordered = sorted(
        rows.values(),
        key=lambda row: (networks.index(row["network"]), methods.index(row["method"]), row["epochs"]),
    )
    if tiny:
        return Result(ordered)
    margins = [beside_the_best(ordered, network) for network in networks]
    missing = [f"{name} is left out without {m.package}." for name, m in METHODS.items() if not m.installed]
    return Result(ordered, checks(ordered), [*missing, *(str(margin) for margin in margins if margin)])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the JSON file does not hold yet, print a table, and write it."""
    parser = BENCHMARK.parser()
    add = parser.add_argument
    add("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(METHODS)}; default: all that are installed")
    add("--networks", nargs="+", default=list(FULL.features), metavar="NETWORK", help="default: %(default)s")
    add("--epochs", type=int, default=5, help="of every run; default: %(default)d")
    add("--trials", type=int, default=5, help="settings that each method may try; default: %(default)d")
    add("--seeds", type=int, default=3, help="runs of the best setting; default: %(default)d")
    add("--pairs", type=int, default=3, help="for the cost beside Adam's; default: %(default)d")
    add("--costs", action="store_true", help="measure the cost beside Adam's anew of the rows that are there")
    add("--anew", action="store_true", help="measure also what the JSON file holds")
    arguments = parser.parse_args(argv)
    require_known(parser, "method", arguments.methods, METHODS)
    require_known(parser, "network", arguments.networks, FULL.features)
    for name in arguments.methods:
        if not METHODS[name].installed:
            parser.error(f"{name} needs {METHODS[name].package}: pip install 'revgn[bench]'")
    sizes = TINY if arguments.tiny else FULL
    budget = Budget(arguments.epochs, arguments.trials, arguments.seeds, arguments.pairs)

    def measure_all() -> Result:
        data = split(sizes)
        rows: dict[Key, Row] = {(r["network"], r["method"], r["epochs"]): r for r in BENCHMARK.kept(arguments)}
        if others := {row["plan"]["data"] for row in rows.values()} - {data.name}:
            parser.error(f"the JSON file holds rows of {others.pop()}, these are {data.name}; give another --out")
        if arguments.costs:
            for row in rows.values():
                ratio = ratio_to_adam(row["network"], row["method"], row["chosen"], data, sizes, budget.pairs)
                row |= summary(row["curves"], ratio)
                BENCHMARK.show([row])
            return result_of(rows, arguments.tiny)
        return BENCHMARK.complete(
            arguments,
            rows,
            wanted(arguments.networks, arguments.methods, data, sizes, budget),
            lambda key: measured(key[0], key[1], data, sizes, budget),
            lambda rows: result_of(rows, arguments.tiny),
            anew=arguments.anew,
        )

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
