"""What theory says of whole trajectories: quadratic convergence, and Theorem 4.3."""

import itertools

import numpy as np
import pytest
import torch

import oracles
import revgn
from networks import normal, rev_mlp
from revgn.losses import MSELoss

INPUTS, TARGETS = normal(24, 16), normal(24, 3, seed=5)


def network():
    """The problem of theory.md: n = 24, d = 16, h = 64, L = 4, tanh."""
    return rev_mlp(num_blocks=4, hidden_features=64, init_std=0.05)


def residuals(optimizer, steps):
    """The outputs less the targets before each step, (steps + 1, n, d_out)."""
    seen = []
    for _ in range(steps):
        seen.append(optimizer.backward(INPUTS, TARGETS).outputs - TARGETS)
        optimizer.step()
    return torch.stack([*seen, optimizer.model(INPUTS).detach() - TARGETS])


@pytest.mark.parametrize("block_weights", ["exact", (0.1, 0.2, 0.3, 0.4)])
def test_newton_steps_converge_quadratically(block_weights):
    optimizer = revgn.GaussNewton(network(), MSELoss(), lr=1.0, block_weights=block_weights)
    sizes = residuals(optimizer, 8).norm(dim=(1, 2)).numpy()
    assert sizes[-1] < 1e-12
    # e' = C e^2: the slope of log e' over log e, where the sequence is in its basin and above rounding.
    falling = [i for i in range(8) if sizes[i] < 1 and sizes[i + 1] > 1e-12]
    assert len(falling) >= 2
    order = np.polyfit(np.log(sizes[falling]), np.log(sizes[[i + 1 for i in falling]]), 1)[0]
    assert order >= 1.8


def trajectory(rate, make):
    """Residuals at times 0.4, 0.8, ... 1.6 of the flow, by steps of size `rate`."""
    stride = round(0.4 / rate)
    return residuals(make(network(), rate), 4 * stride)[stride::stride]


def by_weights(block_weights):
    return lambda model, rate: revgn.GaussNewton(model, MSELoss(), lr=rate, block_weights=block_weights)


RIGHT_INVERSES = [
    by_weights("exact"),
    by_weights("last"),
    by_weights((1.0, 0.0, 0.0, 0.0)),
    by_weights((0.5, -0.25, 0.25, 0.5)),
    lambda model, rate: revgn.GaussNewton(model, MSELoss(), lr=rate, right_inverse="adjoint"),
    lambda model, rate: revgn.GaussNewton(model, MSELoss(), lr=rate, right_inverse="moore-penrose"),
    lambda model, rate: revgn.dense.GaussNewton(model, MSELoss(), lr=rate),
]


@pytest.mark.nightly
def test_all_right_inverses_follow_one_trajectory_up_to_order_lr():
    """Theorem 4.3 of Buffelli et al. (2024)."""
    rates = [0.2 / 2**k for k in range(5)]
    gaps = []
    for rate in rates:
        paths = [trajectory(rate, make) for make in RIGHT_INVERSES]
        gaps.append(max((a - b).norm(dim=(1, 2)).max().item() for a in paths for b in paths))
    slope = np.polyfit(np.log(rates), np.log(gaps), 1)[0]
    assert 0.9 <= slope <= 1.1
    assert all(coarse > fine for coarse, fine in itertools.pairwise(gaps))


def test_right_inverses_differ_as_steps():
    model = network()
    # "moore-penrose" is the dense step by another way.
    steps = [oracles.flat(model, make(model, 1.0).direction(INPUTS, TARGETS)) for make in RIGHT_INVERSES[:-1]]
    for first, second in itertools.combinations(steps, 2):
        assert np.linalg.norm(first - second) > 0.1 * np.linalg.norm(second)
