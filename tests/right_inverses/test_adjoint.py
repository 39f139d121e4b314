"""The adjoint step: exact wherever one layer is surjective, and as written out in numpy for layers in a row."""

import functools

import numpy as np
import pytest
from torch import nn

import oracles
import revgn
from networks import normal
from revgn.losses import MSELoss
from tables import ADJOINT

PLAIN = [name for name in ADJOINT if isinstance(ADJOINT[name].make(), nn.Sequential)]


@functools.cache
def problem(name):
    """Module, inputs, targets, J and r (n, d_out)."""
    model, inputs = ADJOINT[name].make(), ADJOINT[name].inputs()
    outputs = model(inputs).detach()
    targets = normal(*outputs.shape, seed=5)
    return model, inputs, targets, oracles.jacobian(model, inputs), (outputs - targets).numpy()


@functools.cache
def formula(name):
    model, inputs, _, _, r = problem(name)
    return oracles.adjoint_step(model, inputs, r)


def optimizer(model):
    return revgn.GaussNewton(model, MSELoss(), right_inverse="adjoint")


@pytest.mark.parametrize("name", PLAIN)
def test_the_step_is_that_of_the_formula(name):
    model, inputs, targets, _, _ = problem(name)
    step = oracles.flat(model, optimizer(model).direction(inputs, targets))
    assert np.linalg.norm(step - formula(name)) <= 1e-8 * np.linalg.norm(formula(name))


@pytest.mark.parametrize("name", PLAIN)
def test_the_formula_is_exact(name):
    """The oracle itself, against the Jacobian."""
    _, _, _, j, r = problem(name)
    moved = j @ formula(name)
    assert np.linalg.norm(moved - r.ravel()) <= 1e-10 * np.linalg.norm(r)


def test_frozen_parameters_have_no_step():
    model, inputs, targets, _, _ = problem("wide mlp, frozen first layer")
    optimizer(model).backward(inputs, targets)
    assert model[0].weight.grad is None
    assert model[2].weight.grad.count_nonzero() > 0
