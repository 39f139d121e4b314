"""Values and directions against oracles, closed forms and torch, up to extreme outputs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from networks import normal
from revgn.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss, PoissonNLLLoss
from tables.losses import counts, distributions, indices

EXTREME = st.lists(st.sampled_from([-1000.0, -88.0, 0.0, 1.0, 88.0, 1000.0]), min_size=3, max_size=3)


@pytest.mark.parametrize("damping", [0.0, 1e-2])
def test_cross_entropy_agrees_with_the_oracle(damping):
    outputs, y = normal(8, 5) * 3, distributions(8, 5)
    loss = CrossEntropyLoss(curvature="exact", damping=damping)
    assert loss(outputs, y).item() == pytest.approx(oracles.cross_entropy(outputs.numpy(), y.numpy()), rel=1e-13)
    expected = oracles.cross_entropy_direction(outputs.numpy(), y.numpy(), damping)
    np.testing.assert_allclose(loss.direction(outputs, y).numpy(), expected, rtol=1e-7, atol=1e-9)


def test_class_indices_and_their_one_hot_rows_are_the_same_targets():
    outputs, targets = normal(6, 4), indices(6, 4)
    one_hot = torch.nn.functional.one_hot(targets, 4).double()
    for loss in (CrossEntropyLoss(label_smoothing=0.1), CrossEntropyLoss("exact", label_smoothing=0.1)):
        torch.testing.assert_close(loss(outputs, targets), loss(outputs, one_hot))
        torch.testing.assert_close(loss.direction(outputs, targets), loss.direction(outputs, one_hot))


def test_values_are_sums_over_outputs_and_means_over_rows():
    outputs, targets = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2, 2)
    assert MSELoss()(outputs, targets).item() == pytest.approx(0.5 * (1 + 4 + 9 + 16) / 2)
    assert BCEWithLogitsLoss()(torch.zeros(3, 2), torch.ones(3, 2)).item() == pytest.approx(2 * math.log(2))
    assert CrossEntropyLoss()(torch.zeros(3, 2), torch.tensor([0, 1, 1])).item() == pytest.approx(math.log(2))
    assert PoissonNLLLoss()(torch.zeros(3, 2), torch.ones(3, 2)).item() == pytest.approx(2.0)


def test_poisson_agrees_with_torch():
    outputs, targets = normal(6, 4) * 2, counts(6, 4)
    theirs = torch.nn.PoissonNLLLoss(log_input=True, reduction="none")(outputs, targets)
    torch.testing.assert_close(PoissonNLLLoss().value(outputs, targets), theirs.sum(-1))


@pytest.mark.parametrize("damping", [0.0, 1e-2])
def test_poisson_direction_is_one_minus_the_count_over_the_rate(damping):
    outputs, targets = normal(6, 4) * 2, counts(6, 4)
    expected = 1 - (targets + damping) * (1 / (outputs.exp() + damping))
    torch.testing.assert_close(PoissonNLLLoss(damping).direction(outputs, targets), expected)


@given(EXTREME, st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_directions_and_roots_stay_finite_at_extreme_outputs_in_float32(logits, target):
    outputs, one_hot = torch.tensor([logits]), torch.eye(3)[[target]]
    for damping in (0.0, 1e-12, 1e-3):
        for loss, targets in (
            (CrossEntropyLoss("exact", damping), torch.tensor([target])),
            (BCEWithLogitsLoss(damping), one_hot),
            (PoissonNLLLoss(damping), one_hot),
        ):
            # A step of this size can still be squared and summed over a thousand rows in float32.
            assert loss.direction(outputs, targets).abs().max() < 1e15
            assert torch.isfinite(loss.root(outputs, targets)).all()
    assert torch.isfinite(CrossEntropyLoss()(outputs, torch.tensor([target])))


@pytest.mark.parametrize("margin", [0.0, 5.0, 10.0])
def test_root_of_confident_cross_entropy_keeps_its_rank_in_float32(margin):
    """An eigendecomposition of diag(p) - p p^T finds its rank in the rounding of p - p^2 once p is near 1."""
    outputs, targets = normal(6, 4, dtype=torch.float32), indices(6, 4)
    outputs[:, 0] += margin
    loss = CrossEntropyLoss("exact")
    root = loss.root(outputs, targets)
    assert root.shape == (6, 3, 4)
    exact = loss.curvature(outputs.double(), targets)
    torch.testing.assert_close((root.mT @ root).double(), exact, rtol=1e-4, atol=1e-11)
    assert (torch.linalg.matrix_rank(root.double(), rtol=1e-6) == 3).all()
