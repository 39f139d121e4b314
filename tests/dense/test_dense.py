"""The theoretical step against a dense pseudo-inverse written out in numpy."""

import re

import numpy as np
import pytest
import torch

import oracles
import revgn
from networks import normal, rev_mlp
from revgn.losses import MSELoss
from revgn.solvers import Cholesky, Eigh
from tables import LOSSES, each


def mlp(width):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, width), torch.nn.Tanh(), torch.nn.Linear(width, 3)).double()


def convolutional():
    torch.manual_seed(0)
    layers = [torch.nn.Unflatten(1, (1, 5)), torch.nn.Conv1d(1, 4, 2), torch.nn.SiLU(), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(16, 3)).double()


MODULES = {
    "underdetermined": lambda: mlp(20),
    "overdetermined": lambda: mlp(2),
    "convolutional": convolutional,
    "reversible": lambda: rev_mlp(5, 3, num_blocks=2, hidden_features=12),
}
INPUTS = normal(12, 5)


@pytest.mark.parametrize("module", MODULES)
def test_jacobian_is_that_of_autograd(module):
    module = MODULES[module]()
    jacobian = revgn.Jacobian(module, INPUTS)
    torch.testing.assert_close(jacobian.outputs, module(INPUTS).detach())
    np.testing.assert_allclose(jacobian.dense().numpy(), oracles.jacobian(module, INPUTS), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("module", MODULES)
@each("case", LOSSES)
def test_step_is_the_generalised_gauss_newton_step(module, case):
    module, (loss, targets) = MODULES[module](), case.drawn(12, 3)
    optimizer = revgn.dense.GaussNewton(module, loss)
    step = oracles.flat(module, optimizer.direction(INPUTS, targets))
    outputs = module(INPUTS).detach()
    (gradient,) = torch.autograd.grad(loss(outputs.requires_grad_(), targets) * 12, outputs)
    curvature = loss.curvature(outputs.detach(), targets)
    hessians = np.stack([np.eye(3)] * 12) if curvature is None else curvature.numpy()
    expected = oracles.gauss_newton(oracles.jacobian(module, INPUTS), hessians, gradient.numpy())
    np.testing.assert_allclose(step, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_for_identity_curvature_and_full_rank_it_is_the_moore_penrose_inverse():
    module = mlp(20)
    step = oracles.flat(module, revgn.dense.GaussNewton(module, MSELoss()).direction(INPUTS, normal(12, 3)))
    r = (module(INPUTS) - normal(12, 3)).detach().numpy().ravel()
    np.testing.assert_allclose(step, np.linalg.pinv(oracles.jacobian(module, INPUTS)) @ r, rtol=1e-9, atol=1e-12)


def test_report_tells_rank_and_what_is_left():
    report = revgn.dense.GaussNewton(mlp(20), MSELoss()).backward(INPUTS, normal(12, 3))
    assert report.exact
    assert report.ranks == ((36,),)
    assert report.predicted_loss == pytest.approx(0, abs=1e-20)

    module = mlp(2)
    report = revgn.dense.GaussNewton(module, MSELoss()).backward(INPUTS, normal(12, 3))
    j = oracles.jacobian(module, INPUTS)
    r = (module(INPUTS) - normal(12, 3)).detach().numpy().ravel()
    left = r - j @ np.linalg.pinv(j) @ r
    assert not report.exact
    assert report.defect == pytest.approx(np.linalg.norm(left) / np.linalg.norm(r))
    assert report.predicted_loss == pytest.approx(0.5 * (left**2).sum() / 12)


def test_small_problems_of_any_module_are_solved_in_a_few_steps():
    optimizer = revgn.dense.GaussNewton(convolutional(), MSELoss(), lr=1.0)
    targets = 0.1 * normal(12, 3, seed=5)
    for _ in range(10):
        report = optimizer.backward(INPUTS, targets)
        optimizer.step()
    assert report.loss < 1e-20


def test_damping_makes_a_levenberg_marquardt_step():
    module = mlp(2)
    optimizer = revgn.dense.GaussNewton(module, MSELoss(), solver=Cholesky(damping=0.1))
    step = oracles.flat(module, optimizer.direction(INPUTS, normal(12, 3)))
    j = oracles.jacobian(module, INPUTS)
    r = (module(INPUTS) - normal(12, 3)).detach().numpy().ravel()
    gram = j.T @ j
    expected = np.linalg.solve(gram + 0.1 * np.diag(gram).mean() * np.eye(len(gram)), j.T @ r)
    np.testing.assert_allclose(step, expected, rtol=1e-9, atol=1e-12)


def test_a_frozen_part_is_left_alone():
    module = mlp(20)
    module[0].requires_grad_(False)
    optimizer = revgn.dense.GaussNewton(module, MSELoss(), solver=Eigh())
    optimizer.backward(INPUTS, normal(12, 3))
    assert module[0].weight.grad is None
    assert module[2].weight.grad.count_nonzero() > 0


def test_outputs_that_are_not_rows_are_refused():
    module = torch.nn.Sequential(mlp(4), torch.nn.Flatten(0))
    with pytest.raises(ValueError, match=re.escape("have shape (24,) for 8 rows of inputs; expected (n, d_out)")):
        revgn.dense.GaussNewton(module, MSELoss()).backward(INPUTS, normal(12, 3))


def test_a_loss_that_is_not_finite_changes_nothing():
    optimizer = revgn.dense.GaussNewton(mlp(4), MSELoss())
    with pytest.raises(FloatingPointError, match="inputs hold NaN or infinity in 12 of 12 rows"):
        optimizer.backward(INPUTS * float("nan"), normal(12, 3))
    assert all(p.grad is None for p in optimizer.model.parameters())
