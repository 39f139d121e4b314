"""Robust losses against SciPy's and the published definitions of rho, and what a step of theirs does."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from networks import normal
from revgn.losses import CrossEntropyLoss, MSELoss, Robust
from tables.losses import indices

NAMES = ("huber", "soft_l1", "cauchy", "tukey")


@pytest.mark.parametrize("name", ["huber", "soft_l1", "cauchy"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_value_is_scipys_cost_of_one_output(name, scale):
    outputs, targets = normal(20, 1) * 3, normal(20, 1, seed=1)
    residuals = (outputs - targets).squeeze(1).numpy()
    there = least_squares(lambda x: residuals + 0 * x, [0.0], loss=name, f_scale=scale, max_nfev=1)
    assert Robust(name, scale=scale).value(outputs, targets).sum().item() == pytest.approx(there.cost, rel=1e-13)


@pytest.mark.parametrize("name", ["huber", "soft_l1", "cauchy"])
def test_a_fit_of_a_line_ends_where_scipys_does(name):
    design, targets = line_with_outliers()
    theta = torch.linalg.lstsq(design, targets).solution
    for _ in range(200):
        theta = theta - step(Robust(name, scale=0.3), design, design @ theta, targets)
    theirs = least_squares(
        lambda x: design.numpy() @ x - targets.numpy()[:, 0],
        np.zeros(2),
        loss=name,
        f_scale=0.3,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-12,
    )
    np.testing.assert_allclose(theta.squeeze(1).numpy(), theirs.x, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 3])
def test_tukey_is_the_published_biweight(rows):
    """Beaton and Tukey (1974): c^2/6 (1 - (1 - (x/c)^2)^3) up to |x| = c, then c^2/6."""
    x, c = torch.tensor([[0.0], [1e-9], [0.4], [-1.5], [2.0], [2.1], [50.0]], dtype=torch.float64), 2.0
    outputs = torch.cat([x] + [torch.zeros_like(x)] * (rows - 1), 1)  # the norm of a row is what counts
    expected = torch.where(x.abs() <= c, c**2 / 6 * (1 - (1 - (x / c) ** 2) ** 3), c**2 / 6).squeeze(1)
    loss, targets = Robust("tukey", scale=c), torch.zeros_like(outputs)
    torch.testing.assert_close(loss.value(outputs, targets), expected)
    far = slice(4, None)
    assert (loss.gradient(outputs, targets)[far] == 0).all()
    assert (loss.direction(outputs, targets)[far] == 0).all()
    assert (loss.root(outputs, targets)[far] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_small_residuals_count_by_their_square(name):
    outputs, targets = normal(6, 4) * 1e-7, torch.zeros(6, 4, dtype=torch.float64)
    torch.testing.assert_close(
        Robust(name).value(outputs, targets), MSELoss().value(outputs, targets), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(Robust(name).gradient(outputs, targets), outputs, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_finite_without_residual_and_far_out(name):
    outputs = torch.tensor([[0.0, 0.0], [1e18, 1e-18]], requires_grad=True)
    targets = torch.zeros(2, 2)
    (by_autograd,) = torch.autograd.grad(Robust(name)(outputs, targets), outputs)
    assert torch.isfinite(by_autograd).all()
    for method in (Robust(name).gradient, Robust(name).curvature, Robust(name).direction, Robust(name).root):
        assert torch.isfinite(method(outputs, targets)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_full_step_of_a_linear_model_never_raises_the_loss(name):
    """The curvature without the second derivative of rho bounds the loss from above."""
    design, targets = line_with_outliers()
    loss = Robust(name, scale=1.0)
    theta = torch.linalg.lstsq(design, targets).solution
    values = [loss(design @ theta, targets).item()]
    for _ in range(20):
        theta = theta - step(loss, design, design @ theta, targets)
        values.append(loss(design @ theta, targets).item())
    assert values[-1] < 0.97 * values[0]
    assert all(after <= before * (1 + 1e-14) for before, after in itertools.pairwise(values))


def test_base_may_be_a_loss_that_is_no_square():
    outputs, targets, base = normal(6, 4), indices(6, 4), CrossEntropyLoss("exact")
    s = 2 * base.value(outputs, targets)
    torch.testing.assert_close(Robust("cauchy", base).value(outputs, targets), 0.5 * torch.log1p(s))
    expected = base.gradient(outputs, targets) / (1 + s).unsqueeze(1)
    torch.testing.assert_close(Robust("cauchy", base).gradient(outputs, targets), expected)


def line_with_outliers():
    x = torch.linspace(-1, 1, 40, dtype=torch.float64)
    y = 1 + 2 * x + 0.05 * normal(40)
    y[::5] += 3 * normal(8, seed=1).abs()
    return torch.stack([torch.ones_like(x), x], 1), y.unsqueeze(1)


def step(loss, design, outputs, targets):
    """The Gauss-Newton step of a linear model with one output: R X step = R r in the least-squares sense."""
    root = loss.root(outputs, targets)
    weighed = (root @ design.unsqueeze(1)).flatten(0, 1)
    return torch.linalg.lstsq(weighed, (root @ loss.direction(outputs, targets).unsqueeze(-1)).flatten(0, 1)).solution
