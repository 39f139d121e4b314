"""Classification with probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from revgn.estimators.chunk_steps import Classifying, fit_chunks
from revgn.estimators.ensemble import Ensemble, counted, mean_curve
from revgn.estimators.held_out import HeldOut, folds
from revgn.estimators.perceptron import Network
from revgn.estimators.scaling import Scaling

Array = NDArray[Any]
# Rows times classes of a chunk, at most: the kernel of a step takes its square.
MOST = 2000
# Each network leaves out a share of the rows, an eighth or less, of which it can then be told how sure to be.
FOLDS = 8
# From little to much, each tried on the first networks.
DAMPINGS, PILOTS = (0.1, 1.0, 10.0), 2
UNDECIDED = 1.0  # where there are too few rows to leave any out


class GaussNewtonClassifier(ClassifierMixin, Ensemble):
    """Small neural networks for up to some thousand rows, with nothing to tune: the mean of `n_estimators` of them.

        model = GaussNewtonClassifier().fit(X, y)
        probabilities = model.predict_proba(X_new)

    Each network is fitted to the cross-entropy by damped Gauss-Newton steps in row space, on chunks of the rows: two
    hundred steps that solve their chunk's linear equations are all it takes. Each network leaves out an eighth of the
    rows or less, which then choose the damping and, by one temperature, how sure all of them are. Inputs are scaled
    inside; numbers only, so encode categories first; NaN and sparse inputs are refused.

    When to use it: some hundred to some thousand rows of numbers or small images. Beyond
    `n_estimators * max_iter * chunk_rows` rows (160,000) it refuses, for some would never be used: take
    `sklearn.ensemble.HistGradientBoostingClassifier`. So it does beyond 400 classes.

    No `partial_fit`: the steps grow shorter towards an end that has to be known.

    Cost: `max_iter` steps of (c k)^3 / 3 a network, for c rows a chunk and k classes, whatever the number of rows;
    half as much again for the choice of the damping.

    Args:
        n_estimators: networks from different starts, 8 by default.
        hidden_layer_sizes: widths of the hidden layers, (64, 64) by default; tanh follows each.
        damping: lambda relative to the mean diagonal of a chunk's kernel; "held-out", the default, takes that of 0.1, 1
            and 10 by which the first two networks do best on rows that they have not seen, and 1 for less than 16 rows.
        max_iter: steps of each network, 200 by default.
        chunk_rows: the most rows of a step, 100 by default; fewer where rows times classes would exceed 2000.
        class_weight: None, "balanced", or how often each row of a class counts, by class.
        n_jobs: networks that are fitted at the same time, by joblib, each on one thread.
        verbose: joblib's, prints how many networks have been fitted.
        random_state: of the starts, and of the order of the rows.

    Attributes:
        classes_: the classes, ascending, (k,).
        damping_: the damping of the fit.
        temperature_: by what the networks' outputs are divided before they are taken for logarithms of probabilities.
        n_features_in_, feature_names_in_: of the inputs, the names where they had some.
        n_iter_: steps that each network took.
        loss_curve_: cross-entropy of each step's chunk before the step, on average over the networks.
        networks_: the fitted networks.

    Source: Goldshlager, Abrahamsen, Lin (2024) for the steps; docs/theory.md, "Mini-batches".
    """

    def __init__(
        self,
        *,
        n_estimators: int = 8,
        hidden_layer_sizes: int | Sequence[int] = (64, 64),
        damping: float | str = "held-out",
        max_iter: int = 200,
        chunk_rows: int = 100,
        class_weight: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.hidden_layer_sizes = hidden_layer_sizes
        self.damping = damping
        self.max_iter = max_iter
        self.chunk_rows = chunk_rows
        self.class_weight = class_weight
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    _damping_rule = "held-out"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "GaussNewtonClassifier":
        """Fit the networks.

        Args:
            X: inputs, (n, d).
            y: the class of each row, (n,): numbers, words or booleans, of at least two classes.
            sample_weight: (n,), how often each row counts: 2 is the same as the row twice where all rows are one chunk,
                and on average otherwise. Weights that sum to less than the number of rows are taken relative to their
                mean.

        Returns:
            The estimator itself.

        Raises:
            ValueError, TypeError: a parameter is out of range; inputs or classes have the wrong shape, hold NaN, or are
                sparse; one class only; too many rows or classes.
        """
        self._forget()
        widths = self._check_parameters()
        checked: Any = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        y = column_or_1d(checked[1], warn=True)
        check_classification_targets(y)
        x, y, weight = self._weighted(checked[0], y, sample_weight)
        classes, index = np.unique(y, return_inverse=True)
        size = self._chunk(len(x), classes)
        weight = weight * compute_class_weight(self.class_weight, classes=classes, y=y)[index]
        scaling = Scaling.of(x, weight)
        inputs, random = scaling.apply(x), check_random_state(self.random_state)
        rows = HeldOut(inputs, index, counted(weight), folds(inputs, max(FOLDS, self.n_estimators), random))
        tasks: list[dict[str, Any]] = []
        for number in range(self.n_estimators):
            start = Network.start((x.shape[1], *widths, len(classes)), random)
            tasks.append({"start": start, "examples": rows.examples(number), "seed": random.randint(2**31 - 1)})
        damping, fitted = self._fitted(tasks, rows, size)
        networks = [each.network for each in fitted]
        # All at once, at the end: what is interrupted before has learnt nothing.
        self.classes_ = classes
        self.damping_ = damping
        self.temperature_ = rows.temperature(networks)[0] if rows.some else 1.0
        self.input_scaling_ = scaling
        self.n_iter_ = self.max_iter
        self.loss_curve_ = mean_curve([each.loss_curve for each in fitted])
        self.networks_ = networks
        return self

    def _fitted(
        self, tasks: Sequence[dict[str, Any]], rows: HeldOut, chunk_rows: int
    ) -> tuple[float, list[Classifying]]:
        """The damping, and the networks that are fitted with it."""

        def run(tasks: Sequence[dict[str, Any]], *dampings: float) -> list[Classifying]:
            """All tasks with the first damping, then with the next: side by side, as far as there are processes."""
            damped = [{**task, "damping": damping} for damping in dampings for task in tasks]
            return self._run(fit_chunks, damped, steps=self.max_iter, chunk_rows=chunk_rows)

        if not isinstance(self.damping, str) or not rows.some:
            damping = UNDECIDED if isinstance(self.damping, str) else float(self.damping)
            return damping, run(tasks, damping)
        pilots, others = tasks[:PILOTS], tasks[PILOTS:]
        tried = run(pilots, *DAMPINGS)
        by_damping = {d: tried[i * len(pilots) : (i + 1) * len(pilots)] for i, d in enumerate(DAMPINGS)}
        best = min(DAMPINGS, key=lambda d: rows.temperature([each.network for each in by_damping[d]])[1])
        return best, [*by_damping[best], *run(others, best)]

    @property
    def most_rows(self) -> int:
        """The most rows that `fit` takes: of more, some would never be used."""
        return self.n_estimators * self.max_iter * self.chunk_rows

    def predict(self, X: Any) -> Array:
        """The most probable class of each row, (m,)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (m, k), in the order of `classes_`: the mean of the networks'."""
        new = self._scaled(X)
        each = [softmax(network.outputs(new) / self.temperature_, axis=1) for network in self.networks_]
        return np.mean(each, axis=0)

    def decision_function(self, X: Any) -> Array:
        """Logarithms of the probabilities, (m, k); for two classes that of their quotient, (m,)."""
        logarithms = np.log(self.predict_proba(X))
        return logarithms[:, 1] - logarithms[:, 0] if logarithms.shape[1] == 2 else logarithms

    def _chunk(self, n: int, classes: Array) -> int:
        """Rows of a chunk.

        Raises:
            ValueError: the classes or rows are too few or too many.
        """
        k = len(classes)
        if k < 2:
            raise ValueError(f"y holds one class, {classes.tolist()}; expected at least two classes")
        if k > MOST // 5:
            raise ValueError(
                f"y holds {k} classes, more than {MOST // 5}: use sklearn.ensemble.HistGradientBoostingClassifier, or "
                "GaussNewtonRegressor if y is a number and no class"
            )
        if n > self.most_rows:
            raise ValueError(
                f"{n} rows, more than the {self.most_rows} that n_estimators * max_iter * chunk_rows can use: use "
                "sklearn.ensemble.HistGradientBoostingClassifier for so many, or raise max_iter"
            )
        return min(self.chunk_rows, MOST // k)
