"""What holds for the derivatives of every loss, whatever it is."""

import pytest
import torch

from losses_table import LOSSES
from networks import normal

# Curvature that is the Hessian by design: neither taken as the identity, nor without the second derivative of rho.
HESSIANS = [
    name
    for name in LOSSES
    if name.startswith(("squared", "exact", "binary", "poisson")) or name == "huber, wide"  # every row lies inside
]


@pytest.fixture(params=LOSSES)
def name(request):
    return request.param


def problem(name, n=6, d_out=4, scale=2.0):
    return *LOSSES[name](n, d_out), normal(n, d_out) * scale


def dense(curvature, outputs):
    return (
        torch.eye(outputs.shape[1], dtype=outputs.dtype).expand(len(outputs), -1, -1)
        if curvature is None
        else curvature
    )


def test_gradient_is_that_of_the_mean_times_the_rows(name):
    loss, targets, outputs = problem(name)
    (expected,) = torch.autograd.grad(loss(outputs.requires_grad_(), targets) * len(outputs), outputs)
    torch.testing.assert_close(loss.gradient(outputs, targets), expected)


@pytest.mark.parametrize("name", HESSIANS)
def test_curvature_is_the_hessian_plus_damping(name):
    loss, targets, outputs = problem(name)
    whole = torch.func.hessian(loss)(outputs, targets) * len(outputs)  # (n, d_out, n, d_out)
    per_row = torch.stack([whole[i, :, i] for i in range(len(outputs))])
    damping = getattr(loss, "damping", 0.0) * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(dense(loss.curvature(outputs, targets), outputs), per_row + damping)


def test_curvature_is_symmetric_and_positive_semi_definite(name):
    loss, targets, outputs = problem(name)
    curvature = dense(loss.curvature(outputs, targets), outputs)
    torch.testing.assert_close(curvature, curvature.mT)
    values = torch.linalg.eigvalsh(curvature)
    assert (values[:, 0] >= -1e-14 * values[:, -1]).all()


def test_direction_solves_the_curvature_for_the_gradient(name):
    loss, targets, outputs = problem(name, scale=3.0)
    curvature = dense(loss.curvature(outputs, targets), outputs)
    expected = torch.linalg.pinv(curvature, hermitian=True) @ loss.gradient(outputs, targets).unsqueeze(-1)
    torch.testing.assert_close(loss.direction(outputs, targets), expected.squeeze(-1), rtol=1e-8, atol=1e-10)


def test_a_small_step_along_the_direction_descends(name):
    loss, targets, outputs = problem(name)
    assert loss(outputs - 1e-4 * loss.direction(outputs, targets), targets) < loss(outputs, targets)


@pytest.mark.parametrize("weighed", [False, True])
def test_root_squares_to_the_weighed_curvature_and_has_full_row_rank(name, weighed):
    loss, targets, outputs = problem(name)
    weight = normal(6, seed=5).abs() + 0.1 if weighed else None
    root, curvature = loss.root(outputs, targets, weight), loss.curvature(outputs, targets)
    if curvature is None and not weighed:
        assert root is None
        return
    expected = dense(curvature, outputs) * (1 if weight is None else (weight / weight.mean()).view(-1, 1, 1))
    torch.testing.assert_close(root.mT @ root, expected)
    ranks = torch.linalg.matrix_rank(expected, hermitian=True)
    assert root.shape[1] == ranks.max()
    assert (torch.linalg.matrix_rank(root) == ranks).all()


def test_rows_do_not_depend_on_each_other(name):
    loss, targets, outputs = problem(name)
    for method in (loss.value, loss.gradient, loss.direction):
        torch.testing.assert_close(method(outputs, targets)[2:4], method(outputs[2:4], targets[2:4]))


def test_nothing_is_written_into_outputs_or_targets(name):
    loss, targets, outputs = problem(name)
    before = outputs.clone(), targets.clone()
    for method in (loss, loss.value, loss.gradient, loss.curvature, loss.direction, loss.root):
        method(outputs, targets)
    assert torch.equal(outputs, before[0])
    assert torch.equal(targets, before[1])


def test_options_are_in_the_representation(name):
    loss = LOSSES[name](6, 4)[0]
    for option in ("damping", "label_smoothing", "scale"):
        if hasattr(loss, option):
            assert f"{option}={getattr(loss, option)}" in repr(loss)
