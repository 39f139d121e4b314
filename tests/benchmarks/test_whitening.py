"""The family between Moore-Penrose and adjoint, against numpy and against both ends."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import oracles
import revgn
from networks import normal, rev_mlp
from revgn.losses import MSELoss
from whitening import Whitened

INPUTS, TARGETS = normal(12, 16), normal(12, 3, seed=5)


def step(model, right_inverse):
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse=right_inverse)
    report = optimizer.backward(INPUTS, TARGETS)
    assert report.exact
    return np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])


@pytest.mark.parametrize(("power", "end"), [(0.0, "moore-penrose"), (1.0, "adjoint")])
def test_the_ends_are_moore_penrose_and_adjoint(power, end):
    """Of a network whose layers are all surjective: of others the adjoint leaves some alone."""
    expected = step(rev_mlp(), end)
    np.testing.assert_allclose(
        step(rev_mlp(), Whitened(power=power)), expected, rtol=0, atol=1e-8 * abs(expected).max()
    )


@pytest.mark.parametrize("power", [0.3, 0.5])
def test_the_change_is_the_least_in_its_norm(power):
    """Against J W (J W)^+ r with W = (Phi^T Phi)^(-s/2) layer by layer, all of it dense."""
    model = nn.Sequential(nn.Linear(16, 30), nn.Tanh(), nn.Linear(30, 3)).double()
    seen = [INPUTS, model[1](model[0](INPUTS)).detach()]
    roots = []
    for features, layer in zip(seen, (model[0], model[2]), strict=True):
        phi = np.hstack([features.numpy(), np.ones((len(features), 1))])
        w, q = np.linalg.eigh(phi.T @ phi)
        kept = w > 1e-10 * w[-1]
        root = (q[:, kept] * w[kept] ** (-power / 2)) @ q[:, kept].T
        roots.append((root, layer.out_features))
    j = oracles.jacobian(model, INPUTS)  # columns: weights (q, p) and then biases (q,), layer by layer
    mixed, start = [], 0
    for root, q in roots:
        p = len(root) - 1
        columns = j[:, start : start + q * (p + 1)]
        by_output = np.dstack([columns[:, : q * p].reshape(-1, q, p), columns[:, q * p :, None]])
        mixed.append((by_output @ root).reshape(len(j), -1))
        start += q * (p + 1)
    r = (model(INPUTS).detach() - TARGETS).numpy().ravel()
    least = np.linalg.pinv(np.hstack(mixed), rcond=1e-10) @ r
    expected, start = [], 0
    for root, q in roots:
        p = len(root) - 1
        change = least[start : start + q * (p + 1)].reshape(q, p + 1) @ root
        expected += [change[:, :p].ravel(), change[:, p]]
        start += q * (p + 1)
    expected = np.concatenate(expected)
    np.testing.assert_allclose(step(model, Whitened(power=power)), expected, rtol=0, atol=1e-7 * abs(expected).max())


def test_the_more_is_whitened_the_longer_the_change_and_the_shorter_what_it_moves_in_each_layer():
    """Otherwise each would not be the least in its own norm."""
    lengths = [np.linalg.norm(step(rev_mlp(), Whitened(power=s))) for s in (0.0, 0.5, 1.0)]
    assert all(a < b for a, b in itertools.pairwise(lengths))


def test_layers_without_features_of_their_own_are_refused():
    model = nn.Sequential(nn.Unflatten(1, (1, 16)), nn.Conv1d(1, 4, 3), nn.Flatten(), nn.Linear(56, 3)).double()
    with pytest.raises(TypeError, match="no features to whiten"):
        revgn.GaussNewton(model, MSELoss(), right_inverse=Whitened()).backward(INPUTS, TARGETS)


def test_float32_is_certified():
    model = rev_mlp(dtype=torch.float32)
    report = revgn.GaussNewton(model, MSELoss(), right_inverse=Whitened(power=0.5)).backward(
        INPUTS.float(), TARGETS.float()
    )
    assert report.exact
