"""Levenberg-Marquardt in every space, against dense formulas, and on residuals of any kind."""

import copy
import pickle

import pytest
import torch
from torch import nn

import revgn
from networks import normal
from revgn.losses import MSELoss, Robust


class Curve(nn.Module):
    """b0 exp(-b1 x) + b2."""

    def __init__(self, start=(1.0, 1.0, 1.0)):
        super().__init__()
        self.b = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, x):
        return self.b[0] * torch.exp(-self.b[1] * x) + self.b[2]


X = torch.linspace(0, 4, 40, dtype=torch.float64).unsqueeze(1)
TRUE = (3.0, 1.3, 0.5)
Y = Curve(TRUE)(X).detach() + 0.01 * normal(40, 1)


def mlp(width, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1)).double()


@pytest.mark.parametrize("scaling", ["marquardt", "identity"])
@pytest.mark.parametrize("width", [4, 30])  # fewer and more parameters than rows
def test_step_is_the_damped_one(width, scaling):
    """Against (J^T J + lambda mean(diag) D^2)^-1 J^T r with the dense J."""
    model = mlp(width)
    jacobian = revgn.Jacobian(model, X).dense()
    r = model(X).detach() - Y
    norms = jacobian.norm(dim=0) if scaling == "marquardt" else torch.ones(jacobian.shape[1], dtype=torch.float64)
    scaled = jacobian / norms
    ridge = 0.1 * scaled.square().sum() / min(scaled.shape)
    gram = scaled.mT @ scaled + ridge * torch.eye(len(norms), dtype=torch.float64)
    expected = (torch.linalg.solve(gram, scaled.mT @ r).squeeze() / norms).neg()
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    optimizer = revgn.LevenbergMarquardt(model, damping=0.1, scaling=scaling, geodesic=False)
    report = optimizer.step(X, Y)
    assert report.attempts == 1
    after = nn.utils.parameters_to_vector(model.parameters()).detach()
    torch.testing.assert_close(after - before, expected, rtol=1e-7, atol=1e-10)
    assert report.route.startswith("sample space" if width == 30 else "parameter space")


@pytest.mark.parametrize(
    ("residuals", "separable"),
    [
        (lambda m, b: m(b[0]) - b[1], True),
        (lambda m, b: (m(b[0]) - b[1]).squeeze(1), True),
        (lambda m, b: torch.cumsum(m(b[0]) - b[1], 0), False),
        (lambda m, b: torch.cat((m(b[0]) - b[1], m.b.view(-1, 1) * 1e-3)), False),
    ],
)
def test_residuals_of_rows_and_of_the_whole(residuals, separable):
    model = Curve()
    fit = revgn.fit(model, inputs=(X, Y), residuals=residuals)
    assert fit.converged
    assert fit.optimizer._separable == separable
    gradient = torch.autograd.grad(residuals(model, (X, Y)).square().sum(), model.b)[0]
    assert float(gradient.abs().max()) < 1e-7
    torch.testing.assert_close(model.b.detach(), torch.tensor(TRUE, dtype=torch.float64), atol=0.03, rtol=0)


def test_residuals_with_derivatives_by_inputs():
    """u' = -u, u(0) = 1, by a network's own derivative: rows by torch.func."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, 1)).double()
    t = torch.linspace(0, 2, 20, dtype=torch.float64).unsqueeze(1)

    def residuals(model, t):
        u, slope = torch.func.jvp(model, (t,), (torch.ones_like(t),))
        return torch.cat((slope + u, torch.where(t == 0, u - 1, 0.0)), 1)

    fit = revgn.fit(model, inputs=t, residuals=residuals, max_steps=40)
    assert fit.optimizer._separable
    assert fit.loss < 1e-8
    torch.testing.assert_close(model(t).detach(), torch.exp(-t), atol=1e-3, rtol=0)


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_units_do_not_matter(factor):
    """Inputs in other units, with the start in the same: the same fit, step by step."""
    plain, scaled = Curve(), Curve((1.0, 1.0 / factor, 1.0))
    first = revgn.fit(plain, inputs=X, targets=Y)
    second = revgn.fit(scaled, inputs=factor * X, targets=Y)
    assert first.ending == second.ending == "converged"
    assert first.loss == pytest.approx(second.loss, rel=1e-12)
    units = torch.tensor([1.0, factor, 1.0], dtype=torch.float64)
    torch.testing.assert_close(plain.b.detach(), scaled.b.detach() * units, rtol=1e-7, atol=0)


def test_frozen_shared_and_parametrised_parameters():
    torch.manual_seed(0)
    shared = nn.Linear(8, 8)
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(8, 1)).double()
    nn.utils.parametrizations.weight_norm(model[-1])
    model[0].bias.requires_grad_(False)
    frozen = model[0].bias.detach().clone()
    fit = revgn.fit(model, inputs=X, targets=Y, max_steps=60)
    assert fit.loss < 1e-4
    assert torch.equal(model[0].bias, frozen)


def test_dead_units_and_repeated_rows_never_raise():
    model = mlp(20)
    with torch.no_grad():
        model[0].weight.zero_()
        model[2].weight[:, :5] = 0.0
    fit = revgn.fit(model, inputs=X.repeat(3, 1), targets=torch.cat((Y, Y + 0.1, Y)), max_steps=30)
    assert fit.ending in ("converged", "max_steps", "stalled")
    assert fit.loss < fit.history[0]["loss"]


def test_geodesic_acceleration_takes_fewer_steps_along_a_curved_valley():
    """Rosenbrock's function as residuals of a single row."""

    class Point(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))

    def rosenbrock(model, _):
        x, y = model.p
        return torch.stack((10 * (y - x**2), 1 - x)).unsqueeze(1)

    steps = {}
    for geodesic in (False, True):
        model = Point()
        optimizer = revgn.LevenbergMarquardt(model, residuals=rosenbrock, geodesic=geodesic, damping=1.0)
        fit = revgn.fit(model, inputs=torch.zeros(1), optimizer=optimizer)
        torch.testing.assert_close(model.p.detach(), torch.ones(2, dtype=torch.float64), rtol=1e-6, atol=0)
        steps[geodesic] = fit.steps
    assert steps[True] <= steps[False]


def test_robust_losses_ignore_outliers():
    y = Y.clone()
    y[::8] += 5.0
    model = Curve()
    revgn.fit(model, Robust("cauchy", scale=0.05), X, y)
    torch.testing.assert_close(model.b.detach(), torch.tensor(TRUE, dtype=torch.float64), atol=0.1, rtol=0)


def test_copies_and_pickles_go_on_alike():
    model = Curve()
    optimizer = revgn.LevenbergMarquardt(model)
    optimizer.step(X, Y)
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        report = twin.step(X, Y)
        assert report.new_loss < report.loss
    mine = optimizer.step(X, Y)
    assert mine.new_loss == report.new_loss
    assert mine.damping == report.damping


def test_bad_input_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="marquardt"):
        revgn.LevenbergMarquardt(Curve(), scaling="marquart")
    with pytest.raises(ValueError, match="gcv"):
        revgn.LevenbergMarquardt(Curve(), damping="gvc")
    with pytest.raises(ValueError, match="one of them"):
        revgn.LevenbergMarquardt(Curve(), damping=1.0, control=revgn.control.Fixed())
    with pytest.raises(ValueError, match="targets in the batch"):
        revgn.LevenbergMarquardt(Curve(), residuals=lambda m, b: m(b)).step(X, Y)
    with pytest.raises(ValueError, match="expected a tensor"):
        revgn.LevenbergMarquardt(Curve(), residuals=lambda m, b: 1.0).step(X)
    with pytest.raises(ValueError, match="random"):
        revgn.LevenbergMarquardt(Curve(), residuals=lambda m, b: m(b) + torch.rand(40, 1)).step(X)
    bad = X.clone()
    bad[3] = torch.nan
    model = Curve()
    with pytest.raises(FloatingPointError, match="inputs hold NaN"):
        revgn.LevenbergMarquardt(model, MSELoss()).step(bad, Y)
    assert torch.equal(model.b.detach(), Curve().b.detach())
