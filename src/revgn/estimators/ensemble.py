"""What the two estimators share: rows that count, fits side by side, and what makes the object fitted or not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import validation
from sklearn.utils.validation import check_is_fitted, validate_data

from revgn.estimators.arguments import require_count, require_damping, require_widths
from revgn.estimators.scaling import Scaling

Array = NDArray[Any]


class Ensemble(BaseEstimator):
    """Base class of the estimators, whose parameters are those that both have."""

    n_estimators: int
    hidden_layer_sizes: int | Sequence[int]
    damping: Any
    max_iter: int
    chunk_rows: int
    n_jobs: int | None
    verbose: int
    random_state: Any

    input_scaling_: Scaling

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "networks_")

    def _forget(self) -> None:
        """Remove what an earlier fit has learnt: after one that is interrupted or refused nothing must predict."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def _check_parameters(self) -> tuple[int, ...]:
        """The widths of the hidden layers, where all parameters are what they should be."""
        for name, least in (("n_estimators", 1), ("max_iter", 1), ("chunk_rows", 2)):
            require_count(name, getattr(self, name), least=least)
        require_damping(self.damping, self._damping_rule)
        return require_widths(self.hidden_layer_sizes)

    _damping_rule: str

    def _weighted(self, x: Array, y: Array, sample_weight: Any) -> tuple[Array, Array, Array]:
        """The rows that count, what is wanted of them, and how often they count, (n,).

        Raises:
            ValueError: weights that are not (n,), not finite or negative; fewer than two rows that count.
        """
        weight: Array = validation._check_sample_weight(  # pyright: ignore[reportPrivateUsage]  # what third parties use
            sample_weight, x, dtype=np.float64, ensure_non_negative=True
        )
        used = weight > 0
        if used.sum() < 2:
            raise ValueError(f"{used.sum()} rows have a sample_weight above zero; expected at least 2")
        return x[used], y[used], weight[used]

    def _run(self, fit: Callable[..., Any], tasks: Sequence[Mapping[str, Any]], **common: Any) -> list[Any]:
        """What `fit` returns for each task, in order, on as many processes as are asked for."""
        n_jobs: Any = self.n_jobs
        processes: Any = effective_n_jobs(n_jobs)
        threads = 1 if processes > 1 else torch.get_num_threads()
        run: Any = Parallel(n_jobs=n_jobs, verbose=int(self.verbose))
        # A list, not a generator: joblib then knows how many there are, and tells the time left.
        return list(run([delayed(_on_threads)(threads, fit, {**task, **common}) for task in tasks]))

    def _scaled(self, x: Any) -> Array:
        """New rows as the networks take them, (m, d)."""
        check_is_fitted(self)
        checked: Any = validate_data(self, x, reset=False, dtype=np.float64)
        return self.input_scaling_.apply(checked)


def counted(weight: Array) -> Array:
    """Weights as counts of rows: those that sum to less than there are rows (to one, say) are no counts, but shares."""
    return weight * max(1.0, len(weight) / weight.sum())


def mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """The mean of curves, of which those that end earlier keep their last value."""
    steps = max(map(len, curves))
    return np.mean([[*curve, *[curve[-1]] * (steps - len(curve))] for curve in curves], axis=0).tolist()


def _on_threads(threads: int, fit: Callable[..., Any], task: Mapping[str, Any]) -> Any:
    """Fit with so many of torch's threads: processes side by side would otherwise each take all."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return fit(**task)
    finally:
        torch.set_num_threads(before)
