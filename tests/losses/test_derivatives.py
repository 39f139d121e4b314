"""What holds for the derivatives of every loss, whatever it is."""

import pytest
import torch

from networks import normal
from tables import LOSSES, each

EVERY_LOSS = each("case", LOSSES)


def problem(case, n=6, d_out=4, scale=2.0):
    return *case.drawn(n, d_out), normal(n, d_out) * scale


def dense(curvature, outputs):
    return (
        torch.eye(outputs.shape[1], dtype=outputs.dtype).expand(len(outputs), -1, -1)
        if curvature is None
        else curvature
    )


@EVERY_LOSS
def test_gradient_is_that_of_the_mean_times_the_rows(case):
    loss, targets, outputs = problem(case)
    (expected,) = torch.autograd.grad(loss(outputs.requires_grad_(), targets) * len(outputs), outputs)
    torch.testing.assert_close(loss.gradient(outputs, targets), expected)


@each("case", LOSSES, lambda case: case.curvature == "hessian")
def test_curvature_is_the_hessian_plus_damping(case):
    loss, targets, outputs = problem(case)
    whole = torch.func.hessian(loss)(outputs, targets) * len(outputs)  # (n, d_out, n, d_out)
    per_row = torch.stack([whole[i, :, i] for i in range(len(outputs))])
    damping = getattr(loss, "damping", 0.0) * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(dense(loss.curvature(outputs, targets), outputs), per_row + damping)


@EVERY_LOSS
def test_curvature_is_symmetric_and_positive_semi_definite(case):
    loss, targets, outputs = problem(case)
    curvature = dense(loss.curvature(outputs, targets), outputs)
    torch.testing.assert_close(curvature, curvature.mT)
    values = torch.linalg.eigvalsh(curvature)
    assert (values[:, 0] >= -1e-14 * values[:, -1]).all()


@EVERY_LOSS
def test_direction_solves_the_curvature_for_the_gradient(case):
    loss, targets, outputs = problem(case, scale=3.0)
    curvature = dense(loss.curvature(outputs, targets), outputs)
    expected = torch.linalg.pinv(curvature, hermitian=True) @ loss.gradient(outputs, targets).unsqueeze(-1)
    torch.testing.assert_close(loss.direction(outputs, targets), expected.squeeze(-1), rtol=1e-8, atol=1e-10)


@each("case", LOSSES, lambda case: case.curvature == "identity")
def test_a_curvature_that_is_the_identity_is_left_out_and_r_is_the_gradient(case):
    loss, targets, outputs = problem(case)
    assert loss.curvature(outputs, targets) is None
    assert loss.root(outputs, targets) is None
    assert torch.equal(loss.direction(outputs, targets), loss.gradient(outputs, targets))


@each("case", LOSSES, lambda case: case.curvature == "bound")
def test_a_curvature_that_is_a_bound_is_no_less_than_the_hessian(case):
    loss, targets, outputs = problem(case)
    whole = torch.func.hessian(loss)(outputs, targets) * len(outputs)
    per_row = torch.stack([whole[i, :, i] for i in range(len(outputs))])
    excess = torch.linalg.eigvalsh(loss.curvature(outputs, targets) - per_row)
    assert (excess >= -1e-14).all()
    assert excess.max() > 1e-3


@EVERY_LOSS
def test_the_curvature_has_full_rank_in_every_row_where_the_table_says_so(case):
    loss, targets, outputs = problem(case)
    ranks = torch.linalg.matrix_rank(dense(loss.curvature(outputs, targets), outputs), hermitian=True)
    assert bool((ranks == 4).all()) == case.definite


@EVERY_LOSS
def test_a_loss_lies_above_its_tangents_where_the_table_calls_it_convex(case):
    loss, targets, outputs = problem(case, 200, scale=4.0)
    others = normal(200, 4, seed=9) * 4
    tangent = loss.value(outputs, targets) + (loss.gradient(outputs, targets) * (others - outputs)).sum(1)
    assert bool((loss.value(others, targets) >= tangent - 1e-12).all()) == case.convex


@EVERY_LOSS
def test_with_fewer_outputs_than_it_needs_a_loss_is_constant_and_with_so_many_it_is_not(case):
    for d_out in range(1, case.least_outputs + 1):
        loss, targets, outputs = problem(case, d_out=d_out)
        assert bool(loss.gradient(outputs, targets).any()) == (d_out == case.least_outputs)


@EVERY_LOSS
def test_a_small_step_along_the_direction_descends(case):
    loss, targets, outputs = problem(case)
    assert loss(outputs - 1e-4 * loss.direction(outputs, targets), targets) < loss(outputs, targets)


@EVERY_LOSS
@pytest.mark.parametrize("weighed", [False, True])
def test_root_squares_to_the_weighed_curvature_and_has_full_row_rank(case, weighed):
    loss, targets, outputs = problem(case)
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


@EVERY_LOSS
def test_rows_do_not_depend_on_each_other(case):
    loss, targets, outputs = problem(case)
    for method in (loss.value, loss.gradient, loss.direction):
        torch.testing.assert_close(method(outputs, targets)[2:4], method(outputs[2:4], targets[2:4]))


@EVERY_LOSS
def test_nothing_is_written_into_outputs_or_targets(case):
    loss, targets, outputs = problem(case)
    before = outputs.clone(), targets.clone()
    for method in (loss, loss.value, loss.gradient, loss.curvature, loss.direction, loss.root):
        method(outputs, targets)
    assert torch.equal(outputs, before[0])
    assert torch.equal(targets, before[1])


@EVERY_LOSS
def test_options_are_in_the_representation(case):
    loss = case.make()
    for option in ("damping", "label_smoothing", "scale"):
        if hasattr(loss, option):
            assert f"{option}={getattr(loss, option)}" in repr(loss)
