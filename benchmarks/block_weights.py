"""What do block weights do to training and to test accuracy: the last block alone, all alike, all at once?

    python benchmarks/block_weights.py [full-batch mini-batch] [--seeds 42 43 44] [--out runs/benchmarks]

Every exact step moves the outputs by the same r; the weights choose which blocks do it. Four blocks of 2000 features on
Fashion-MNIST (digits where it cannot be had), the first block linear as the authors have it, cross-entropy with H = I.

- full batch: 1024 rows, learning rate 1, where the loss is squared error: a full Newton step;
- mini-batch: 10,240 rows in batches of 512, a few epochs, learning rate 0.1.

`sum` is the authors' step, as many times too long as there are blocks: it gets a learning rate that many times smaller,
so that it differs from `uniform` in nothing but rounding, and a second row at the others' learning rate shows what the
factor does. `truncated` is as they released it: singular values below 1e-2 of the largest dropped.
"""

import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import problems
import revgn
from results import Benchmark, Column, Result, Row, require_known
from revgn.losses import CrossEntropyLoss, GaussNewtonLoss, MSELoss
from revgn.solvers import Eigh

BLOCKS, HIDDEN = 4, 2000


@dataclass(frozen=True)
class Setting:
    """How one is trained."""

    rows: int
    batch: int
    epochs: int
    lr: float
    loss: type[GaussNewtonLoss]


SETTINGS = {
    "full-batch": Setting(rows=1024, batch=1024, epochs=8, lr=1.0, loss=MSELoss),
    "mini-batch": Setting(rows=10240, batch=512, epochs=2, lr=0.1, loss=CrossEntropyLoss),
}
TINY = {
    "full-batch": Setting(rows=48, batch=48, epochs=2, lr=1.0, loss=MSELoss),
    "mini-batch": Setting(rows=96, batch=32, epochs=1, lr=0.1, loss=CrossEntropyLoss),
}
WEIGHTS: Mapping[str, dict[str, Any]] = {
    "exact": {},
    "last": {"block_weights": "last"},
    "uniform": {"block_weights": "uniform"},
    "sum, lr / blocks": {"block_weights": "sum"},
    "sum": {"block_weights": "sum"},
    "truncated, sum, lr / blocks": {"block_weights": "sum", "solver": Eigh(rtol=1e-2)},
}
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("setting", "setting", width=10),
        Column("weights", "block weights", width=27),
        Column("lr", "lr", ".3g", 6),
        Column("seeds", "seeds", "d", 5),
        Column("steps", "steps", "d", 5),
        Column("pace", "s/step", ".3f", 7),
        Column("loss", "train loss", ".2e", 10),
        Column("accuracy", "test acc.", ".3f"),
        Column("lowest", "from", ".3f", 6),
        Column("highest", "to", ".3f", 6),
    ],
)


def trained(setting: Setting, seed: int, lr: float, options: Mapping[str, Any]) -> dict[str, Any]:
    """Loss on all training rows and accuracy on all test rows after training, and seconds a step."""
    data = problems.images(setting.rows, seed)
    generator = torch.Generator().manual_seed(seed)
    network = {"num_blocks": BLOCKS, "hidden_features": min(HIDDEN, 4 * setting.batch)}
    model = revgn.RevMLP(data.in_features, problems.CLASSES, generator=generator, **network).to(problems.device())
    loss = setting.loss()
    inputs, classes = data.inputs.to(problems.device()), data.targets.to(problems.device())
    targets = problems.one_hot(classes) if setting.loss is MSELoss else classes
    optimizer = revgn.GaussNewton(model, loss, lr=lr, **options)
    steps, start = 0, time.perf_counter()
    for _ in range(setting.epochs):
        for rows in torch.randperm(len(inputs), generator=generator).split(setting.batch):
            optimizer.backward(inputs[rows], targets[rows])
            optimizer.step()
            steps += 1
    pace = (time.perf_counter() - start) / steps
    with torch.no_grad():
        return {
            "loss": float(loss(model(inputs), targets)),
            "accuracy": problems.accuracy(model, data.test_inputs, data.test_targets),
            "steps": steps,
            "pace": pace,
        }


def compared(name: str, setting: Setting, seeds: Sequence[int]) -> list[Row]:
    """A row for each kind of weights."""
    found: list[Row] = []
    for weights, options in WEIGHTS.items():
        lr = setting.lr / BLOCKS if weights.endswith("lr / blocks") else setting.lr
        row: Row = {"setting": name, "weights": weights, "lr": lr, "data": problems.images(setting.rows, seeds[0]).name}
        try:
            runs = [trained(setting, seed, lr, options) for seed in seeds]
        except FloatingPointError:
            found.append(row | {"diverged": True})
            BENCHMARK.show(found[-1:])
            continue
        accuracies = [run["accuracy"] for run in runs]
        row |= {key: statistics.mean(run[key] for run in runs) for key in ("loss", "accuracy", "pace")}
        row |= {"seeds": len(seeds), "steps": runs[0]["steps"], "lowest": min(accuracies), "highest": max(accuracies)}
        found.append(row | {"diverged": False, "runs": runs})
        BENCHMARK.show(found[-1:])
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=f"of {', '.join(SETTINGS)}; default: both")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44], metavar="SEED", help="default: 42 43 44")
    arguments = parser.parse_args(argv)
    require_known(parser, "setting", arguments.settings, SETTINGS)
    settings = TINY if arguments.tiny else SETTINGS

    def measure_all() -> Result:
        rows: list[Row] = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="no block is surjective")  # batches may hold a row twice
            for name in arguments.settings or settings:
                rows += compared(name, settings[name], arguments.seeds)
        return Result(rows)

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
