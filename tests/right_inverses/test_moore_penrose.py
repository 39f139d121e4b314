"""The Moore-Penrose step J^+ r of any module, against numpy's pseudo-inverse of a Jacobian row by row."""

import functools

import numpy as np
import pytest

import oracles
import revgn
from networks import normal
from revgn.losses import MSELoss
from tables import ZOO

EVERY_MODULE = pytest.mark.parametrize("name", ZOO)
# Some of these steps can only be least squares, and may say so.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@functools.cache
def problem(name):
    """Outputs, J, targets and r, by the oracle alone."""
    model, inputs = ZOO[name].make(), ZOO[name].inputs()
    outputs = oracles.array(oracles.call(model, inputs))
    targets = normal(*outputs.shape, seed=5)
    return outputs, oracles.jacobian(model, inputs), targets, (outputs - targets.numpy()).ravel()


@functools.cache
def singular_values(name):
    """Those of J that are not zero, relative to the largest."""
    s = np.linalg.svd(problem(name)[1], compute_uv=False)
    return s[s > 1e-9 * s[0]] / s[0]


def taken(name):
    """The step as one vector, and the report of the same step."""
    model, inputs, targets = ZOO[name].make(), ZOO[name].inputs(), problem(name)[2]
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse="moore-penrose")
    step = oracles.flat(model, optimizer.direction(inputs, targets))
    return step, optimizer.backward(inputs, targets)


def rows_are_independent(name):
    return len(singular_values(name)) == len(problem(name)[3])


@EVERY_MODULE
def test_the_step_is_the_pseudo_inverse_times_the_direction(name):
    _, j, _, r = problem(name)
    step, _ = taken(name)
    wanted = np.linalg.pinv(j, rcond=1e-9) @ r
    if singular_values(name)[-1] > 1e-4:
        assert np.linalg.norm(step - wanted) <= 1e-8 * np.linalg.norm(wanted)
    else:  # the step is not determined to many digits, but what it moves is
        assert np.linalg.norm(j @ (step - wanted)) <= 1e-7 * np.linalg.norm(r)


@EVERY_MODULE
def test_backward_writes_the_direction(name):
    model, inputs, targets = ZOO[name].make(), ZOO[name].inputs(), problem(name)[2]
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse="moore-penrose")
    steps = optimizer.direction(inputs, targets)
    assert all(p.grad is None for p in model.parameters())
    optimizer.backward(inputs, targets)
    written = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    step = oracles.flat(model, steps)
    assert np.linalg.norm(oracles.flat(model, written) - step) <= 1e-12 * np.linalg.norm(step)
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@EVERY_MODULE
def test_a_step_that_is_reported_exact_moves_the_outputs_by_the_direction(name):
    _, j, _, r = problem(name)
    step, report = taken(name)
    if report.exact:
        assert np.linalg.norm(j @ step - r) <= 1e-10 * np.linalg.norm(r)


@EVERY_MODULE
def test_the_defect_is_what_the_step_leaves_over(name):
    _, j, _, r = problem(name)
    step, report = taken(name)
    defect = np.linalg.norm(j @ step - r) / np.linalg.norm(r)
    assert 0.5 * defect <= report.defect <= 2 * defect or max(defect, report.defect) < 1e-9


@EVERY_MODULE
def test_the_predicted_loss_is_that_of_the_outputs_moved_linearly(name):
    outputs, j, targets, _ = problem(name)
    step, report = taken(name)
    left = (outputs - targets.numpy()).ravel() - j @ step
    assert report.predicted_loss == pytest.approx(0.5 * (left**2).sum() / len(outputs), rel=1e-6, abs=1e-12)
    assert report.loss == pytest.approx(0.5 * ((outputs - targets.numpy()) ** 2).sum() / len(outputs), rel=1e-12)


@EVERY_MODULE
def test_the_report_holds_the_outputs_before_the_step(name):
    np.testing.assert_allclose(oracles.array(taken(name)[1].outputs), problem(name)[0], rtol=1e-12, atol=1e-13)


@EVERY_MODULE
def test_a_step_is_exact_where_the_rows_of_j_are_independent_and_only_there(name):
    _, j, _, r = problem(name)
    step, report = taken(name)
    if not rows_are_independent(name):
        assert not report.exact
        # Least squares: nothing that J could still move is left.
        assert np.linalg.norm(j.T @ (j @ step - r)) <= 1e-8 * np.linalg.norm(j.T @ r)
    elif singular_values(name)[-1] > 1e-2:  # K squares this; below, its rounding passes what counts as exact, 1e-11
        assert report.exact


def test_the_table_has_modules_of_every_rank():
    deficient = [problem(name)[1].shape for name in ZOO if not rows_are_independent(name)]
    assert any(n > p for n, p in deficient)
    assert any(n <= p for n, p in deficient)
    assert sum(singular_values(name)[-1] > 1e-2 for name in ZOO if rows_are_independent(name)) > 90
