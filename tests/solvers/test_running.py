"""RunningCurvature: a mean over mini-batches, and the step of all layers that it serves."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import revgn
from networks import normal
from revgn.control import TrustRegion
from revgn.linear import Features
from revgn.losses import MSELoss
from revgn.solvers import Cholesky, RunningCurvature


def covariance(features):
    dense = np.hstack([features.numpy(), np.ones((len(features), 1))])
    return dense.T @ dense


def test_the_mean_is_that_of_the_renewals_older_ones_counting_less():
    solver, state = RunningCurvature(decay=0.7, damping=0.2, every=3), {}
    batches = [normal(5 + seed, 9, seed=seed) for seed in range(12)]  # batches need not have the same size
    kept = []
    for step, features in enumerate(batches):
        factor = solver.factor(Features.of(features, bias=True), state)
        if step in (0, 1, 2, 4, 7, 10):  # 0, 1, 2, 4, and then every third
            kept.append(features)
        ages = [0.7 ** (len(kept) - 1 - index) for index in range(len(kept))]
        rows = sum(age * len(one) for age, one in zip(ages, kept, strict=True))
        mean = sum(age * covariance(one) for age, one in zip(ages, kept, strict=True)) / rows
        target = normal(len(features), 4, seed=99)
        ridge = 0.2 * np.trace(mean) / min(10, rows)
        dense = np.hstack([features.numpy(), np.ones((len(features), 1))])
        expected = np.linalg.solve(mean + ridge * np.eye(10), dense.T @ target.numpy() / len(features))
        solution = factor.solve(target)
        found = np.vstack([solution.delta.numpy(), solution.bias.numpy()])
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("shape", [(7, 20), (20, 7)])
def test_the_first_batch_is_solved_as_by_cholesky(shape):
    map, target = Features.of(normal(*shape), bias=True), normal(shape[0], 3, seed=1)
    first, other = (s.factor(map).solve(target) for s in (RunningCurvature(damping=0.1), Cholesky(damping=0.1)))
    torch.testing.assert_close(first.delta, other.delta, rtol=1e-8, atol=1e-10)


def test_what_is_not_finite_is_not_remembered():
    solver, state = RunningCurvature(), {}
    solver.factor(Features.of(normal(5, 9)), state)
    before = {name: tensor.clone() for name, tensor in state.items()}
    bad = normal(5, 9)
    bad[2, 3] = math.nan
    with pytest.raises(FloatingPointError, match="features hold NaN"):
        solver.factor(Features.of(bad), state).solve(normal(5, 2))
    assert state.keys() == before.keys()
    assert all(torch.equal(state[name], before[name]) for name in before)


def test_other_features_than_before_are_refused():
    solver, state = RunningCurvature(), {}
    solver.factor(Features.of(normal(5, 9)), state)
    with pytest.raises(ValueError, match="the layer has 8 features, but had 9 before"):
        solver.factor(Features.of(normal(5, 8)), state)


def test_a_covariance_that_no_memory_holds_is_refused_with_what_to_do():
    model = nn.Linear(2000, 2000, dtype=torch.float64)  # (4 million)^2 entries for the whole Jacobian
    optimizer = revgn.GaussNewton(model, MSELoss(), solver=RunningCurvature())
    with pytest.raises(MemoryError, match=r"the covariance of 4002000 features would take 128 TB.*use narrower layers"):
        optimizer.backward(normal(1, 2000), normal(1, 2000))


@pytest.mark.parametrize("options", [{"decay": 1.0}, {"decay": -0.1}, {"damping": 0.0}, {"every": 0}], ids=str)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RunningCurvature(**options)


class CountedTanh(torch.autograd.Function):
    """tanh that counts its backward passes by rows; without a forward mode, so that JVPs are two backward passes."""

    passes: list[int] = []

    @staticmethod
    def forward(ctx, inputs):
        ctx.save_for_backward(inputs.tanh())
        return inputs.tanh()

    @staticmethod
    def backward(ctx, cotangents):
        CountedTanh.passes.append(len(cotangents))
        (outputs,) = ctx.saved_tensors
        return cotangents * (1 - outputs**2)


class Activation(nn.Module):
    def forward(self, inputs):
        return CountedTanh.apply(inputs)


def test_with_the_adjoint_all_layers_take_one_backward_pass_together():
    model = nn.Sequential(nn.Linear(6, 30), Activation(), nn.Linear(30, 5)).double()
    inputs, targets = normal(100, 6), normal(100, 5, seed=2)
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse="adjoint", solver=RunningCurvature())
    optimizer.backward(inputs, targets)  # how the model has to be treated is found out once
    CountedTanh.passes.clear()
    optimizer.backward(inputs, targets)
    assert CountedTanh.passes.count(100) == 1


def seeded():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 30), nn.Tanh(), nn.Linear(30, 5)).double()


@pytest.mark.parametrize("scale", [0.3, 4.0])
def test_with_the_adjoint_layers_together_ask_for_no_more_than_r(scale):
    """Delta_l = (M_l + lambda I)^-1 Phi_l^T A_l^T r / n, over max(L, r^T M r / r^T r): by numpy, layer by layer."""
    model = seeded()
    with torch.no_grad():
        model[2].weight.mul_(scale)
    inputs, targets = normal(40, 6), normal(40, 5, seed=2)
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse="adjoint", solver=RunningCurvature(damping=0.1))
    found = optimizer.direction(inputs, targets)
    with torch.no_grad():
        hidden = model[1](model[0](inputs)).numpy()
        r = (model(inputs) - targets).numpy()
        pulled = [(r @ model[2].weight.numpy()) * (1 - hidden**2), r]
    together = sum(np.square(u).sum() for u in pulled) / np.square(r).sum()
    assert (together > 2) == (scale > 1)
    for index, features, u in ((0, inputs, pulled[0]), (2, torch.from_numpy(hidden), pulled[1])):
        mean = covariance(features) / 40
        ridge = 0.1 * np.trace(mean) / min(len(mean), 40)
        dense = np.hstack([features.numpy(), np.ones((40, 1))])
        expected = np.linalg.solve(mean + ridge * np.eye(len(mean)), dense.T @ u / 40) / max(2, together)
        np.testing.assert_allclose(found[f"{index}.weight"].numpy(), expected[:-1].T, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(found[f"{index}.bias"].numpy(), expected[-1], rtol=1e-8, atol=1e-12)


def test_with_the_adjoint_nothing_is_asked_where_nothing_is_left():
    model = seeded()
    inputs = normal(40, 6)
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse="adjoint", solver=RunningCurvature())
    found = optimizer.direction(inputs, model(inputs).detach())
    assert all(float(change.abs().max()) == 0 for change in found.values())


def test_with_the_adjoint_a_rejected_step_is_tried_again_with_more_damping():
    model = seeded()
    inputs, targets = normal(40, 6), normal(40, 5, seed=2)
    optimizer = revgn.GaussNewton(
        model, MSELoss(), 2.0, right_inverse="adjoint", solver=RunningCurvature(), control=TrustRegion()
    )
    reports = [optimizer.step(inputs, targets) for _ in range(6)]
    assert any(report.attempts > 1 for report in reports)
    losses = [report.loss for report in reports] + [reports[-1].new_loss]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]
