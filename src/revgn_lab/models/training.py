"""From a table to a model with its scores, beside what simple and strong models do on the same rows."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from revgn.estimators import GaussNewtonClassifier, GaussNewtonRegressor
from revgn.naming import unknown_name
from revgn_lab.data import DataError
from revgn_lab.data.splits import split
from revgn_lab.data.tabular.encoding import Encoding, plan_encoding, without_idle_columns
from revgn_lab.data.tabular.frames import Column, Frame, pd
from revgn_lab.data.tabular.reading import Table
from revgn_lab.data.tabular.tasks import Task, class_names, task_of

OURS = "revgn"
_FEWEST_ROWS = 10


@dataclass(frozen=True)
class Settings:
    """What is asked for.

    Args:
        target: name of the column to predict.
        task: None to decide by the column: words, booleans and up to 20 different whole numbers are classes.
        rows: take so many rows at random; None for all.
        seed: of the rows taken and of the networks' starts.
        networks: whose mean predicts; None for the estimator's default.
        jobs: networks that are fitted at the same time.
    """

    target: str
    task: Task | None = None
    rows: int | None = None
    seed: int = 0
    networks: int | None = None
    jobs: int | None = None


@dataclass(frozen=True, eq=False)
class Trained:
    """A model of a table.

    Attributes:
        estimator: fitted, of `revgn.estimators`.
        encoding: from the table's columns to its inputs.
        settings: what was asked for, the task decided.
        scores: by model and measure, on the rows that none of them was trained on.
        rows, test_rows: how many the models were trained on, and scored on.
        notes: what was found out about the table, a line each.
    """

    estimator: Any
    encoding: Encoding
    settings: Settings
    scores: Mapping[str, Mapping[str, float]]
    rows: int
    test_rows: int
    notes: Sequence[str] = field(default=())


def train_table(table: Table, settings: Settings, *, progress: bool = True) -> Trained:
    """Fit a model to four fifths of the rows, and score it on the others.

    Raises:
        DataError: the table cannot be learnt from; the message says why in a line.
    """
    notes = list(table.notes)
    frame = _rows_with_target(table, settings, notes)
    task = settings.task or _task_of(table, settings.target, frame, notes)
    targets = _targets(table, settings.target, frame[settings.target], task)
    train, test = _split(table, targets, task)
    inputs = without_idle_columns(frame.drop(columns=settings.target), notes)
    encoding = plan_encoding(inputs.iloc[train], source=str(table.path))
    notes += encoding.notes
    x = encoding.inputs(inputs, source=str(table.path))
    estimator = _estimator(task, settings, progress=progress)
    _require_room(table, estimator, len(train))
    models = {OURS: estimator, **_baselines(task)}
    scores = {name: _score(model, task, x, targets, train, test) for name, model in models.items()}
    return Trained(estimator, encoding, replace(settings, task=task), scores, len(train), len(test), tuple(notes))


def _rows_with_target(table: Table, settings: Settings, notes: list[str]) -> Frame:
    frame = table.frame
    if settings.target not in frame:
        raise DataError(f"{table.path}: {unknown_name('target column', settings.target, map(str, frame))}")
    known = frame[frame[settings.target].notna()]
    if len(known) < len(frame):
        notes.append(f"{len(frame) - len(known):,} rows without {settings.target!r} are left out")
        if (column := known[settings.target]).dtype.kind == "f" and (column % 1 == 0).all():
            known = known.assign(**{settings.target: column.astype("int64")})  # floats for the gaps' sake alone
    if settings.rows is not None:
        if not 1 <= settings.rows <= len(known):
            raise DataError(f"--rows must be a whole number from 1 to {len(known)}, got {settings.rows}")
        known = known.sample(settings.rows, random_state=settings.seed)
    if len(known) < _FEWEST_ROWS:
        raise DataError(
            f"{table.path}: has {len(known)} rows to learn from, expected at least {_FEWEST_ROWS}; add rows"
        )
    return known.reset_index(drop=True)


def _task_of(table: Table, target: str, frame: Frame, notes: list[str]) -> Task:
    task, note = task_of(frame[target], f"{table.path.name}: target {target!r}")
    if note:
        notes.append(note.replace("unless task says", "unless --task says"))
    return task


def _targets(table: Table, name: str, column: Column, task: Task) -> NDArray[Any]:
    if column.nunique() < 2:
        raise DataError(f"{table.path}: target {name!r} is the same in all rows; name another column with --target")
    if task == "classification":
        return class_names(column).astype(str).astype(object)
    if not pd.api.types.is_numeric_dtype(column):
        raise DataError(f"{table.path}: target {name!r} is not numeric, as regression needs; leave --task out")
    return np.asarray(column, dtype=np.float64)


def _split(table: Table, targets: NDArray[Any], task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    groups = np.unique(targets, return_inverse=True)[1] if task == "classification" else np.zeros(len(targets), int)
    train, test = split(torch.from_numpy(groups).long())
    if not len(test) or len(np.unique(targets[train.numpy()])) < 2:
        raise DataError(
            f"{table.path}: {len(targets)} rows are too few to set some of them aside for a score; add rows"
        )
    return train.numpy(), test.numpy()


def _estimator(task: Task, settings: Settings, *, progress: bool) -> Any:
    kind = GaussNewtonClassifier if task == "classification" else GaussNewtonRegressor
    chosen = {} if settings.networks is None else {"n_estimators": settings.networks}
    return kind(random_state=settings.seed, n_jobs=settings.jobs, verbose=10 if progress else 0, **chosen)


def _require_room(table: Table, estimator: Any, rows: int) -> None:
    most, networks = estimator.most_rows, estimator.n_estimators
    if rows > most:
        raise DataError(
            f"{table.path}: {rows:,} rows for training, more than the {most:,} that {networks} networks take; "
            f"give --rows {most}, or use scikit-learn's HistGradientBoosting"
        )


def _baselines(task: Task) -> dict[str, Any]:
    """What people would try first, with its defaults."""
    if task == "classification":
        return {
            "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
            "boosted trees": HistGradientBoostingClassifier(random_state=0),
            "most frequent class": DummyClassifier(),
        }
    return {
        "ridge": make_pipeline(StandardScaler(), Ridge()),
        "boosted trees": HistGradientBoostingRegressor(random_state=0),
        "mean": DummyRegressor(),
    }


def _score(
    model: Any, task: Task, x: NDArray[Any], y: NDArray[Any], train: NDArray[Any], test: NDArray[Any]
) -> dict[str, float]:
    started = time.perf_counter()
    model.fit(x[train], y[train])
    seconds = {"seconds": time.perf_counter() - started}
    predicted = model.predict(x[test])
    if task == "regression":
        return {
            "R2": float(r2_score(y[test], predicted)) if len(test) > 1 else math.nan,
            "RMSE": float(root_mean_squared_error(y[test], predicted)),
            **seconds,
        }
    return {
        "accuracy": float(accuracy_score(y[test], predicted)),
        "log loss": float(log_loss(y[test], model.predict_proba(x[test]), labels=model.classes_)),
        **seconds,
    }
