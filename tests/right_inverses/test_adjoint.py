"""The adjoint step: exact wherever one layer is surjective, and as written out in numpy for plain MLPs."""

import numpy as np
import pytest

import oracles
import revgn
from networks import normal
from revgn.losses import MSELoss
from revgn.nn import ReversibleNetwork
from tables import ADJOINT

PLAIN = [name for name in ADJOINT if "rev mlp" not in name]
REVERSIBLE = [name for name in ADJOINT if name not in PLAIN]
MEMBERS = {"plain": ("moore-penrose", "adjoint"), "reversible": ("moore-penrose", "adjoint", "reversible")}
STEPS = [(name, member) for name in PLAIN for member in MEMBERS["plain"]]
STEPS += [(name, member) for name in REVERSIBLE for member in MEMBERS["reversible"]]


def problem(name):
    """Module, inputs, targets, J and r (n, d_out)."""
    model, inputs = ADJOINT[name].make(), ADJOINT[name].inputs()
    outputs = model(inputs).detach()
    targets = normal(*outputs.shape, seed=5)
    return model, inputs, targets, oracles.jacobian(model, inputs), (outputs - targets).numpy()


def optimizer(model, member):
    return revgn.GaussNewton(model, MSELoss(), right_inverse=member)


@pytest.mark.parametrize(("name", "member"), STEPS)
def test_every_right_inverse_moves_the_outputs_by_the_direction(name, member):
    """They part in second order only: Theorem 4.3."""
    model, inputs, targets, j, r = problem(name)
    step = oracles.flat(model, optimizer(model, member).direction(inputs, targets))
    report = optimizer(model, member).backward(inputs, targets)
    assert report.exact
    assert np.linalg.norm(j @ step - r.ravel()) <= 1e-10 * np.linalg.norm(r)


@pytest.mark.parametrize("name", PLAIN)
def test_the_step_is_that_of_the_formula(name):
    model, inputs, targets, _, r = problem(name)
    step = oracles.flat(model, optimizer(model, "adjoint").direction(inputs, targets))
    expected = oracles.adjoint_step(model, inputs, r)
    assert np.linalg.norm(step - expected) <= 1e-8 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", PLAIN)
def test_the_formula_is_exact(name):
    """The oracle itself, against the Jacobian."""
    model, inputs, _, j, r = problem(name)
    moved = j @ oracles.adjoint_step(model, inputs, r)
    assert np.linalg.norm(moved - r.ravel()) <= 1e-10 * np.linalg.norm(r)


@pytest.mark.parametrize("name", ADJOINT)
def test_right_inverses_are_different_steps(name):
    """They agree in what they move, not in how."""
    model, inputs, targets, _, _ = problem(name)
    kind = "reversible" if isinstance(model, ReversibleNetwork) else "plain"
    steps = [oracles.flat(model, optimizer(model, member).direction(inputs, targets)) for member in MEMBERS[kind]]
    # J^+ r is the shortest of all.
    assert all(np.linalg.norm(steps[0]) <= np.linalg.norm(step) * (1 + 1e-9) for step in steps[1:])
    assert np.linalg.norm(steps[0] - steps[1]) > 1e-3 * np.linalg.norm(steps[0])


@pytest.mark.parametrize("name", ADJOINT)
def test_the_predicted_loss_of_an_exact_step_is_zero(name):
    model, inputs, targets, _, _ = problem(name)
    report = optimizer(model, "adjoint").backward(inputs, targets)
    assert report.defect <= 1e-10
    assert report.predicted_loss <= 1e-18 * report.loss


def test_frozen_parameters_have_no_step():
    model, inputs, targets, _, _ = problem("wide mlp, frozen first layer")
    optimizer(model, "adjoint").backward(inputs, targets)
    assert model[0].weight.grad is None
    assert model[2].weight.grad.count_nonzero() > 0
