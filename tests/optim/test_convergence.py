"""What theory says of whole trajectories: quadratic convergence, and Theorem 4.3."""

import itertools

import numpy as np
import pytest
import torch

import oracles
import revgn
from networks import normal, rev_mlp
from revgn.losses import MSELoss
from revgn.right_inverses import Reversible
from tables import RIGHT_INVERSES, RightInverseCase, each

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


# All that move the outputs by r, each by a step of its own, and with weights of one's own for these four blocks.
DIFFERENT = {name: case for name, case in RIGHT_INVERSES.items() if case.exact and case.same_as is None}
WAYS = DIFFERENT | {
    "reversible, first block": RightInverseCase(Reversible((1.0, 0.0, 0.0, 0.0))),
    "reversible, weights that sum to one": RightInverseCase(Reversible((0.5, -0.25, 0.25, 0.5))),
}
SPREAD = DIFFERENT | {"reversible, all of one sign": RightInverseCase(Reversible((0.1, 0.2, 0.3, 0.4)))}


@each("case", SPREAD, lambda case: not case.one_block)
def test_newton_steps_converge_quadratically(case):
    optimizer = revgn.GaussNewton(network(), MSELoss(), lr=1.0, right_inverse=case.right_inverse)
    sizes = residuals(optimizer, 8).norm(dim=(1, 2)).numpy()
    assert sizes[-1] < 1e-12
    # e' = C e^2: the slope of log e' over log e, where the sequence is in its basin and above rounding.
    falling = [i for i in range(8) if sizes[i] < 1 and sizes[i + 1] > 1e-12]
    assert len(falling) >= 2
    order = np.polyfit(np.log(sizes[falling]), np.log(sizes[[i + 1 for i in falling]]), 1)[0]
    assert order >= 1.8


def trajectory(optimizer):
    """Residuals at times 0.4, 0.8, ... 1.6 of the flow, by steps of the optimizer's size."""
    stride = round(0.4 / optimizer.param_groups[0]["lr"])
    return residuals(optimizer, 4 * stride)[stride::stride]


@pytest.mark.nightly
def test_all_right_inverses_follow_one_trajectory_up_to_order_lr():
    """Theorem 4.3 of Buffelli et al. (2024)."""
    rates = [0.2 / 2**k for k in range(5)]
    gaps = []
    for rate in rates:
        ways = [revgn.GaussNewton(network(), MSELoss(), rate, right_inverse=way.right_inverse) for way in WAYS.values()]
        paths = [trajectory(way) for way in (*ways, revgn.dense.GaussNewton(network(), MSELoss(), rate))]
        gaps.append(max((a - b).norm(dim=(1, 2)).max().item() for a in paths for b in paths))
    slope = np.polyfit(np.log(rates), np.log(gaps), 1)[0]
    assert 0.9 <= slope <= 1.1
    assert all(coarse > fine for coarse, fine in itertools.pairwise(gaps))


def test_right_inverses_differ_as_steps():
    model = network()
    ways = [revgn.GaussNewton(model, MSELoss(), right_inverse=way.right_inverse) for way in WAYS.values()]
    steps = [oracles.flat(model, way.direction(INPUTS, TARGETS)) for way in ways]
    for first, second in itertools.combinations(steps, 2):
        assert np.linalg.norm(first - second) > 0.1 * np.linalg.norm(second)
