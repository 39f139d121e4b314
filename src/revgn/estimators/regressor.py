"""Regression with error bars."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from revgn.estimators.calibration import interval_scale
from revgn.estimators.ensemble import Ensemble, counted, mean_curve
from revgn.estimators.perceptron import Network
from revgn.estimators.posterior import posterior, unseen
from revgn.estimators.row_chunks import chunks
from revgn.estimators.row_space import FittedNetwork, Rows, fit_network
from revgn.estimators.scaling import Scaling

Array = NDArray[Any]


class GaussNewtonRegressor(RegressorMixin, Ensemble):
    """Small neural networks for a few thousand rows, with nothing to tune: the mean of `n_estimators` of them.

        model = GaussNewtonRegressor().fit(X, y)
        mean, std = model.predict(X_new, return_std=True)

    Each network is fitted by Levenberg-Marquardt steps in row space: ridge regressions on its tangent features, with a
    ridge that generalised cross-validation chooses anew at every step from one eigendecomposition of the tangent
    kernel. It needs no validation rows, no learning rate and no stopping rule. Inputs and targets are scaled inside;
    numbers only, so encode categories first; NaN and sparse inputs are refused.

    When to use it: 50 to some thousand rows, smooth dependence on numbers, and error bars wanted. Beyond
    `n_estimators * chunk_rows` rows it refuses: use `sklearn.ensemble.HistGradientBoostingRegressor`.

    No `partial_fit`: the ridge is chosen by all rows of a network together, and would have to be chosen anew.

    Cost: 10 to 50 steps of 9 n^3 for each network of n rows and each output, and 24 n^2 bytes. Rows beyond `chunk_rows`
    cost nothing more: each network takes some of them.

    Args:
        n_estimators: networks from different starts, 8 by default.
        hidden_layer_sizes: widths of the hidden layers, (64, 64) by default; tanh follows each.
        damping: "gcv" (the default), or the ridge's lambda itself, the same at every step.
        max_iter: the most steps of a network, 200 by default.
        chunk_rows: the most rows of a network, 1000 by default; of more rows each network takes a part, so that all are
            used.
        n_jobs: networks that are fitted at the same time, by joblib, each on one thread.
        verbose: joblib's, prints how many networks have been fitted.
        random_state: of the starts, and of who takes which rows.

    Attributes:
        n_features_in_, feature_names_in_: of the inputs, the names where they had some.
        n_iter_: the most steps that a network took.
        loss_curve_: half the mean square of the scaled residuals after each step, on average over the networks.
        effective_parameters_: the parameters that the rows determine, on average over the networks.
        noise_: the estimated standard deviation of the noise, (k,), or a number for y (n,).
        interval_scale_: what deviations were multiplied by so that +-1.645 of them cover nine tenths of the training
            rows, each seen by networks without it, (k,).
        networks_: for each output the fitted networks.

    Source: Golub, Heath, Wahba (1979) for the ridge; docs/theory.md, "Steps of controlled length".
    """

    _damping_rule = "gcv"

    def __init__(
        self,
        *,
        n_estimators: int = 8,
        hidden_layer_sizes: int | Sequence[int] = (64, 64),
        damping: str | float = "gcv",
        max_iter: int = 200,
        chunk_rows: int = 1000,
        n_jobs: int | None = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.hidden_layer_sizes = hidden_layer_sizes
        self.damping = damping
        self.max_iter = max_iter
        self.chunk_rows = chunk_rows
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "GaussNewtonRegressor":
        """Fit the networks.

        Args:
            X: inputs, (n, d), n at least 2.
            y: targets, (n,) or (n, k).
            sample_weight: (n,), how often each row counts: 2 is the same as the row twice, 0 as none. Weights that sum
                to less than the number of rows are taken relative to their mean.

        Returns:
            The estimator itself.

        Raises:
            ValueError, TypeError: a parameter is out of range; inputs or targets have the wrong shape, hold NaN, or are
                sparse; too many rows, or fewer than two.
        """
        self._forget()
        widths = self._check_parameters()
        checked: Any = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        x, y, weight = self._weighted(checked[0], np.asarray(checked[1], dtype=np.float64), sample_weight)
        flat, targets = y.ndim == 1, y.reshape(len(y), -1)
        inputs, scaling = Scaling.of(x, weight), Scaling.of(targets, weight)
        scaled, wanted, weight = inputs.apply(x), scaling.apply(targets), counted(weight)
        random = check_random_state(self.random_state)
        rows = chunks(len(x), self.chunk_rows, self.n_estimators, random)
        # The same starts for every output: each is fitted as if it were alone.
        starts = [Network.start((x.shape[1], *widths, 1), random) for _ in rows]
        tasks: list[dict[str, Any]] = []
        for target in wanted.T:
            for start, here in zip(starts, rows, strict=True):
                tasks.append({"start": start, "rows": Rows.of(scaled[here], target[here], weight[here])})
        fitted = self._run(fit_network, tasks, max_iter=self.max_iter, damping=self.damping)
        self._warn(fitted)
        networks = [fitted[first : first + len(rows)] for first in range(0, len(fitted), len(rows))]
        noise = scaling.scale * np.sqrt([np.mean([each.noise for each in of_output]) for of_output in networks])
        # All at once, at the end: what is interrupted before has learnt nothing.
        self.input_scaling_, self.target_scaling_ = inputs, scaling
        self.fit_inputs_, self.fit_weight_, self.rows_ = scaled, weight, rows
        self.n_iter_ = max(len(each.loss_curve) for each in fitted)
        self.loss_curve_ = mean_curve([each.loss_curve for each in fitted])
        self.effective_parameters_ = float(np.mean([each.effective_parameters for each in fitted]))
        self.noise_ = float(noise[0]) if flat else noise
        self.interval_scale_ = _interval_scales(wanted, weight, *unseen(networks, rows, scaled, weight))
        self.single_output_ = flat
        self.networks_ = networks
        return self

    @property
    def most_rows(self) -> int:
        """The most rows that `fit` takes: each network as many as it may have, no row left out."""
        return self.n_estimators * self.chunk_rows

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean of the networks' outputs, and if asked the standard deviation of a new observation.

        The deviation holds the noise, what the networks' own posteriors leave open, and how far the networks differ,
        multiplied by `interval_scale_`: +-1.645 of it is meant to hold nine tenths of new observations.

        Args:
            X: (m, d).
            return_std: whether to return a pair (mean, standard deviation).

        Returns:
            (m,), or (m, k) for y (n, k); twice with `return_std`.

        Cost: the mean a few products; deviations n^3 / 3 for each network.
        """
        new = self._scaled(X)
        scaling = self.target_scaling_
        each = np.array([[fitted.network.outputs(new)[:, 0] for fitted in of_output] for of_output in self.networks_])
        each = np.moveaxis(each, 0, -1)  # (networks, m, k)
        mean = scaling.undo(each.mean(0))
        if not return_std:
            return mean[:, 0] if self.single_output_ else mean
        variance = posterior(self.networks_, self.rows_, self.fit_inputs_, self.fit_weight_, new)
        std = scaling.scale * self.interval_scale_ * np.sqrt(variance.mean(0) + each.var(0))
        return (mean[:, 0], std[:, 0]) if self.single_output_ else (mean, std)

    def _warn(self, fitted: Sequence[FittedNetwork]) -> None:
        unfinished = sum(not each.converged for each in fitted)
        if unfinished:
            message = (
                f"{unfinished} of {len(fitted)} networks did not converge in max_iter={self.max_iter} steps; raise it"
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=3)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _interval_scales(wanted: Array, weight: Array, predicted: Array, variance: Array) -> Array:
    """The scale of each output's intervals, (k,), by what networks that have not seen a row say of it."""
    residuals = wanted - predicted.mean(0)
    deviations = np.sqrt(variance.mean(0) + predicted.var(0))
    return np.array([interval_scale(r, s, weight) for r, s in zip(residuals.T, deviations.T, strict=True)])
