"""How sure a fitted network is of its outputs, by the ridge regression on its tangent features."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, solve_triangular

from revgn.estimators.row_space import FittedNetwork

Array = NDArray[Any]
# Rows for which kernels are formed at once.
PORTION = 1000


def variances(fitted: FittedNetwork, inputs: Array, weight: Array, new: Array) -> Array:
    """Variance of the network's outputs at new rows, (m,), in units of the noise s^2.

    (k** - k*^T R (R K R + lambda I)^-1 R k*) / lambda, for the tangent kernel K of the rows of the fit and the root R
    of their weights: the posterior of Bayesian linear regression with weights of prior variance s^2 / lambda.

    Args:
        fitted: the network.
        inputs: scaled rows of its fit, (n, d).
        weight: how often each counts, (n,).
        new: scaled rows, (m, d).

    Cost: n^2 p + n^3 / 3, and n^2 for each new row. The kernel is formed anew and not kept: n^2 numbers a network.
    """
    network, root = fitted.network, np.sqrt(weight)
    known = network.tangents(inputs)
    kernel = known.kernel(known) * root * root[:, None]
    kernel[np.diag_indices_from(kernel)] += fitted.strength
    factor, _ = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    found: list[Array] = []
    for start in range(0, len(new), PORTION):
        tangents = network.tangents(new[start : start + PORTION])
        half = solve_triangular(factor, root[:, None] * known.kernel(tangents), lower=True, check_finite=False)
        found.append(np.maximum(tangents.diagonal() - np.square(half).sum(0), 0.0) / fitted.strength)
    return np.concatenate(found)


def posterior(
    networks: Sequence[Sequence[FittedNetwork]], rows: Sequence[Array], inputs: Array, weight: Array, new: Array
) -> Array:
    """Variance of a new observation by each network, noise included, (networks, m, k).

    Args:
        networks: for each of k outputs.
        rows: which each network was fitted to.
        inputs: scaled rows of the fit, (n, d).
        weight: how often each counts, (n,).
        new: scaled rows, (m, d).
    """
    found = [
        [
            each.noise * (1 + variances(each, inputs[here], weight[here], new))
            for each, here in zip(of, rows, strict=True)
        ]
        for of in networks
    ]
    return np.moveaxis(np.array(found), 0, -1)


def unseen(
    networks: Sequence[Sequence[FittedNetwork]], rows: Sequence[Array], inputs: Array, weight: Array
) -> tuple[Array, Array]:
    """What each network gives at each row of the fit without having seen it, and the variance, (networks, n, k) twice.

    Args:
        networks: for each of k outputs.
        rows: which each network was fitted to.
        inputs: scaled rows of the fit, (n, d).
        weight: how often each counts, (n,).
    """
    predicted = np.empty((len(rows), len(inputs), len(networks)))
    variance = np.empty_like(predicted)
    for output, of_output in enumerate(networks):
        for index, (each, here) in enumerate(zip(of_output, rows, strict=True)):
            predicted[index, here, output] = each.held_out
            # Left out of a ridge regression, a row's own variance is the noise by one less its leverage.
            variance[index, here, output] = each.noise / (1 - each.leverage)
            others = np.setdiff1d(np.arange(len(inputs)), here)
            if len(others):
                predicted[index, others, output] = each.network.outputs(inputs[others])[:, 0]
                beyond = variances(each, inputs[here], weight[here], inputs[others])
                variance[index, others, output] = each.noise * (1 + beyond)
    return predicted, variance
