"""The alignment of the tangent kernel against its definition by the dense Jacobian."""

import numpy as np
import pytest
import torch

import oracles
from networks import normal, rev_mlp
from revgn.diagnostics import kernel_alignment

INPUTS = normal(6, 5)
TARGETS = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 1, 1])).double()


def mlp():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).double()


@pytest.mark.parametrize("make", [mlp, lambda: rev_mlp(5, 3, num_blocks=2, hidden_features=12)], ids=["mlp", "rev"])
@pytest.mark.parametrize("targets", [TARGETS, normal(6, 2, seed=3)], ids=["classes", "quantities"])
def test_alignment_is_that_of_the_mean_over_outputs_of_the_dense_kernel(make, targets):
    j = oracles.jacobian(make(), INPUTS).reshape(6, 3, -1)  # rows, outputs, parameters
    k = sum(j[:, a] @ j[:, a].T for a in range(3)) / 3
    y = targets.numpy() @ targets.numpy().T
    expected = np.sum(k * y) / np.sqrt(np.sum(k * k) * np.sum(y * y))
    assert kernel_alignment(make(), INPUTS, targets) == pytest.approx(expected, rel=1e-9)


def test_a_kernel_made_of_the_targets_is_aligned_with_them():
    model = torch.nn.Linear(3, 2, bias=False).double()  # whose kernel is the Gram matrix of the inputs
    assert kernel_alignment(model, TARGETS, 5 * TARGETS) == pytest.approx(1.0)


def test_a_kernel_that_takes_all_rows_for_alike_has_the_root_of_the_classes_share():
    model = torch.nn.Linear(1, 2, bias=False).double()
    targets = torch.eye(10, dtype=torch.float64).repeat(2, 1)
    assert kernel_alignment(model, torch.ones(20, 1, dtype=torch.float64), targets) == pytest.approx(10**-0.5)


def test_the_scale_of_network_and_targets_plays_no_part():
    model = mlp()
    assert kernel_alignment(model, INPUTS, 1e-3 * TARGETS) == pytest.approx(kernel_alignment(model, INPUTS, TARGETS))


def test_zero_targets_have_no_alignment():
    assert np.isnan(kernel_alignment(mlp(), INPUTS, torch.zeros(6, 3)))


def test_outputs_without_a_kernel_are_refused():
    with pytest.raises(ValueError, match=r"outputs"):
        kernel_alignment(torch.nn.Sequential(mlp(), torch.nn.Unflatten(1, (3, 1))), INPUTS, TARGETS)


@pytest.mark.parametrize("targets", [torch.zeros(6), torch.zeros(5, 3)], ids=["indices", "other rows"])
def test_targets_that_do_not_belong_to_the_rows_are_refused(targets):
    with pytest.raises(ValueError, match=r"expected \(n, c\), such as one-hot rows of classes"):
        kernel_alignment(mlp(), INPUTS, targets)
