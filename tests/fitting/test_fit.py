"""Fits: their endings, their error bars, what they print."""

import time

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit
from torch import nn

import revgn
from networks import classes, normal
from revgn.control import Ridge
from revgn.losses import CrossEntropyLoss

X = torch.linspace(0, 4, 40, dtype=torch.float64).unsqueeze(1)


class Curve(nn.Module):
    """b0 exp(-b1 x) + b2."""

    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def forward(self, x):
        return self.b[0] * torch.exp(-self.b[1] * x) + self.b[2]


Y = 3 * torch.exp(-1.3 * X) + 0.5 + 0.05 * normal(40, 1)


@pytest.mark.parametrize("level", [0.1, 3.0, 50.0])
def test_a_loss_below_zero_ends_where_its_gradient_does(level):
    """Counts, whose loss leaves out log(y!): at rates above e it is negative."""
    counts = torch.poisson(level * torch.exp(0.5 * X.sin()), generator=torch.Generator().manual_seed(0))
    model = nn.Linear(2, 1).double()
    fit = revgn.fit(model, revgn.losses.PoissonNLLLoss(), torch.cat([X.sin(), X.cos()], dim=1), counts)
    assert fit.converged
    loss = nn.functional.poisson_nll_loss(model(torch.cat([X.sin(), X.cos()], dim=1)), counts)
    assert max(g.abs().max() for g in torch.autograd.grad(loss, list(model.parameters()))) < 1e-6 * (1 + level)


def test_standard_errors_are_scipys():
    fit = revgn.fit(Curve(), inputs=X, targets=Y)
    best, covariance = curve_fit(
        lambda x, a, b, c: a * np.exp(-b * x) + c, X.squeeze().numpy(), Y.squeeze().numpy(), (1, 1, 1), xtol=1e-14
    )
    np.testing.assert_allclose(fit.model.b.detach().numpy(), best, rtol=1e-6)
    errors = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(fit.standard_errors["b"].numpy(), errors, rtol=1e-5)
    np.testing.assert_allclose(fit.correlations.numpy(), covariance / np.outer(errors, errors), rtol=1e-4)
    mean, std = fit.predict(X, std=True)
    slopes = revgn.Jacobian(fit.model, X).dense().numpy()
    np.testing.assert_allclose(
        std.squeeze(1).numpy(), np.sqrt(np.einsum("ij,jk,ik->i", slopes, covariance, slopes)), rtol=1e-5
    )
    torch.testing.assert_close(mean, fit.model(X).detach())
    text = str(fit)
    for part in ("converged", "40 rows", "b[0]", "+/-", "parameter space", "degrees of freedom"):
        assert part in text


@pytest.mark.parametrize("width", [3, 60])
def test_error_bars_of_a_ridge_are_those_of_bayesian_regression(width):
    """Against (s^2 / lambda)(k** - k*^T (K + lambda I)^-1 k*) with the dense J, in both spaces."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1)).double()
    optimizer = revgn.LevenbergMarquardt(model, control=Ridge(1e-3))
    fit = revgn.fit(model, inputs=X, targets=Y, optimizer=optimizer, max_steps=30)
    new = torch.linspace(-1, 5, 9, dtype=torch.float64).unsqueeze(1)
    _, std = fit.predict(new, std=True)
    here, there = revgn.Jacobian(model, X).dense(), revgn.Jacobian(model, new).dense()
    strength = fit.report.ridge
    if width == 60:
        inverse = torch.linalg.inv(here @ here.mT + strength * torch.eye(40, dtype=torch.float64))
        cross = there @ here.mT
        variance = ((there @ there.mT) - cross @ inverse @ cross.mT).diagonal() / strength
        effective = float((here @ here.mT @ inverse).trace())
    else:  # the same by the matrix inversion lemma
        inverse = torch.linalg.inv(here.mT @ here + strength * torch.eye(here.shape[1], dtype=torch.float64))
        variance = (there @ inverse @ there.mT).diagonal()
        effective = float((here @ inverse @ here.mT).trace())
    noise = float((model(X).detach() - Y).square().sum()) / (40 - effective)
    torch.testing.assert_close(std.squeeze(1), (noise * variance).sqrt(), rtol=1e-5, atol=1e-10)
    assert fit.effective_parameters == pytest.approx(effective, rel=1e-6)


def test_a_ridge_that_is_given_is_fitted_to_the_minimum_of_its_objective():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(10)  # the penalty rules at first, and the loss rises
    optimizer = revgn.LevenbergMarquardt(model, control=Ridge(0.3))
    fit = revgn.fit(model, inputs=X, targets=Y, optimizer=optimizer)
    assert fit.ending in ("converged", "stalled")  # where rounding ends it
    objective = 0.5 * (model(X) - Y).square().sum() + 0.15 * sum(p.square().sum() for p in model.parameters())
    gradient = torch.autograd.grad(objective, list(model.parameters()))
    assert max(float(g.abs().max()) for g in gradient) < 1e-5


def test_a_chosen_ridge_ends_at_the_step_that_cross_validation_likes_best():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 30), nn.Tanh(), nn.Linear(30, 1)).double()
    scores, losses = [], []

    def note(report):
        free = 1 - 1.2 * report.effective_parameters / 40
        scores.append(report.new_loss / free**2)
        losses.append(report.new_loss)

    optimizer = revgn.LevenbergMarquardt(model, damping="gcv")
    fit = revgn.fit(model, inputs=X, targets=Y, optimizer=optimizer, callbacks=[note])
    assert (fit.ending, fit.reason) == ("converged", "generalised cross-validation")
    assert len(scores) == len(fit.history)  # the last step is seen, too
    best = losses[min(range(len(scores)), key=scores.__getitem__)]
    assert float(0.5 * (model(X).detach() - Y).square().mean()) == pytest.approx(best, rel=1e-12)
    assert 2 < fit.report.effective_parameters < 20


def test_parameters_that_the_data_do_not_determine_have_no_error_bar():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.ones(1, dtype=torch.float64))
            self.b = nn.Parameter(torch.ones(1, dtype=torch.float64))
            self.c = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x):
            return (self.a + self.b) * x + self.c

    fit = revgn.fit(Sum(), inputs=X, targets=Y)
    errors = fit.standard_errors
    assert torch.isinf(errors["a"]).all()
    assert torch.isinf(errors["b"]).all()
    assert torch.isfinite(errors["c"]).all()
    assert torch.isfinite(fit.predict(X, std=True)[1]).all()  # their sum is determined


def test_endings():
    model = Curve()
    assert revgn.fit(model, inputs=X, targets=Y, max_steps=2).ending == "max_steps"
    seen = []
    fit = revgn.fit(Curve(), inputs=X, targets=Y, callbacks=[lambda report: seen.append(report) or len(seen) == 3])
    assert (fit.ending, fit.reason, fit.steps) == ("stopped", "callback", 3)
    again = revgn.fit(model, inputs=X, targets=Y)
    assert again.converged
    assert again.advice == ""
    zero = revgn.fit(Curve(), inputs=X, targets=(torch.exp(-X) + 1) + 0.0)
    assert zero.converged
    assert zero.loss < 1e-28

    def interrupt(_):
        raise KeyboardInterrupt

    assert revgn.fit(Curve(), inputs=X, targets=Y, callbacks=[interrupt]).reason == "interrupted"


def test_seconds_of_the_phases_are_a_part_of_the_fits():
    slept = []

    def slowly(report):
        start = time.perf_counter()
        time.sleep(0.01)
        slept.append(time.perf_counter() - start)
        assert all(seconds > 0 for seconds in report.seconds.values())

    fit = revgn.fit(Curve(), inputs=X, targets=Y, callbacks=[slowly])
    assert set(fit.phases) == {"linearize", "solve", "try"}
    assert sum(fit.phases.values()) <= fit.seconds - sum(slept)
    assert "solve" in str(fit)


def test_a_loss_that_no_step_lowers_is_a_stall_with_advice():
    class Kink(nn.Module):
        """A model whose Jacobian is not that of its outputs."""

        def __init__(self):
            super().__init__()
            self.b = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x):
            return x * (self.b.detach() * 2 - self.b)

    fit = revgn.fit(Kink(), inputs=X, targets=3 * X)
    assert fit.ending == "stalled"
    assert "scale" in fit.advice


def test_cross_entropy_and_sample_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 10), nn.Tanh(), nn.Linear(10, 3)).double()
    weight = torch.rand(30, dtype=torch.float64)
    fit = revgn.fit(
        model, CrossEntropyLoss("exact", 1e-3), normal(30, 4), classes(30, 3), sample_weight=weight, max_steps=40
    )
    assert fit.loss < 1e-2
    assert [r["loss"] for r in fit.history] == sorted((r["loss"] for r in fit.history), reverse=True)


def test_rows_without_weight_are_no_data_in_the_error_bars():
    kept = torch.arange(40) < 20
    part = revgn.fit(Curve(), inputs=X[kept], targets=Y[kept])
    whole = revgn.fit(Curve(), inputs=X, targets=Y, sample_weight=kept.double())
    torch.testing.assert_close(whole.standard_errors, part.standard_errors)


def test_progress_bar(capsys):
    # Slowly: tqdm draws no more than ten times a second.
    revgn.fit(Curve(), inputs=X, targets=Y, progress=True, callbacks=[lambda report: time.sleep(0.2)])
    assert "loss=" in capsys.readouterr().err


def test_what_does_not_belong_together_is_refused():
    model = Curve()
    with pytest.raises(ValueError, match="no inputs"):
        revgn.fit(model)
    with pytest.raises(ValueError, match="another model"):
        revgn.fit(model, inputs=X, targets=Y, optimizer=revgn.LevenbergMarquardt(Curve()))
    with pytest.raises(ValueError, match="different losses"):
        revgn.fit(model, CrossEntropyLoss(), X, Y, optimizer=revgn.LevenbergMarquardt(model))
    with pytest.raises(FloatingPointError, match="targets hold NaN"):
        revgn.fit(model, inputs=X, targets=Y * torch.nan)
