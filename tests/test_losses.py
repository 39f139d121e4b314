import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from networks import classes, normal
from revgn.losses import BCEWithLogitsLoss, CrossEntropyLoss, GaussNewtonLoss, MSELoss


def probabilities(n, k, seed=0):
    return normal(n, k, seed=seed).mul(2).softmax(-1)


CASES = [
    (MSELoss(), normal(6, 4, seed=1)),
    (CrossEntropyLoss(), classes(6, 4)),
    (CrossEntropyLoss(label_smoothing=0.1), classes(6, 4)),
    (CrossEntropyLoss(), probabilities(6, 4)),
    (CrossEntropyLoss(curvature="exact"), classes(6, 4)),
    (CrossEntropyLoss(curvature="exact"), probabilities(6, 4)),
    (CrossEntropyLoss(curvature="exact", damping=1e-3, label_smoothing=0.2), classes(6, 4)),
    (CrossEntropyLoss(curvature="exact", damping=10.0), probabilities(6, 4)),
    (BCEWithLogitsLoss(), probabilities(6, 4)),
    (BCEWithLogitsLoss(damping=0.1), classes(6 * 4, 2).view(6, 4).double()),
]


@pytest.mark.parametrize(("loss", "targets"), CASES)
def test_direction_solves_the_hessian_for_the_gradient(loss, targets):
    outputs = normal(6, 4).mul(3).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(outputs, targets) * len(outputs), outputs)
    hessian = loss.hessian(outputs, targets)
    expected = torch.linalg.pinv(hessian, hermitian=True) @ gradient.unsqueeze(-1)
    torch.testing.assert_close(loss.direction(outputs, targets), expected.squeeze(-1), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("loss", "targets"), [case for case in CASES if getattr(case[0], "curvature", "") != "identity"]
)
def test_hessian_is_that_of_the_loss_plus_damping(loss, targets):
    outputs = normal(6, 4)
    whole = torch.func.hessian(loss)(outputs, targets) * len(outputs)  # (n, d_out, n, d_out)
    per_row = torch.stack([whole[i, :, i] for i in range(len(outputs))])
    damping = getattr(loss, "damping", 0.0) * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(loss.hessian(outputs, targets), per_row + damping)


@pytest.mark.parametrize("damping", [0.0, 1e-2])
def test_cross_entropy_agrees_with_the_oracle(damping):
    outputs, y = normal(8, 5) * 3, probabilities(8, 5, seed=2)
    loss = CrossEntropyLoss(curvature="exact", damping=damping)
    assert loss(outputs, y).item() == pytest.approx(oracles.cross_entropy(outputs.numpy(), y.numpy()), rel=1e-13)
    expected = oracles.cross_entropy_direction(outputs.numpy(), y.numpy(), damping)
    np.testing.assert_allclose(loss.direction(outputs, y).numpy(), expected, rtol=1e-7, atol=1e-9)


def test_class_indices_and_their_one_hot_rows_are_the_same_targets():
    outputs, targets = normal(6, 4), classes(6, 4)
    one_hot = torch.nn.functional.one_hot(targets, 4).double()
    for loss in (CrossEntropyLoss(label_smoothing=0.1), CrossEntropyLoss("exact", label_smoothing=0.1)):
        torch.testing.assert_close(loss(outputs, targets), loss(outputs, one_hot))
        torch.testing.assert_close(loss.direction(outputs, targets), loss.direction(outputs, one_hot))


@pytest.mark.parametrize(("loss", "targets"), CASES)
def test_a_small_step_along_the_direction_descends(loss, targets):
    outputs = normal(6, 4)
    assert loss(outputs - 1e-4 * loss.direction(outputs, targets), targets) < loss(outputs, targets)


def test_values_are_sums_over_outputs_and_means_over_rows():
    outputs, targets = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2, 2)
    assert MSELoss()(outputs, targets).item() == pytest.approx(0.5 * (1 + 4 + 9 + 16) / 2)
    assert BCEWithLogitsLoss()(torch.zeros(3, 2), torch.ones(3, 2)).item() == pytest.approx(2 * math.log(2))
    assert CrossEntropyLoss()(torch.zeros(3, 2), torch.tensor([0, 1, 1])).item() == pytest.approx(math.log(2))


@given(st.lists(st.sampled_from([-1000.0, -88.0, 0.0, 1.0, 88.0, 1000.0]), min_size=3, max_size=3), st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_directions_stay_finite_at_extreme_logits_in_float32(logits, target):
    outputs = torch.tensor([logits])
    for damping in (0.0, 1e-12, 1e-3):
        exact = CrossEntropyLoss("exact", damping).direction(outputs, torch.tensor([target]))
        binary = BCEWithLogitsLoss(damping).direction(outputs, torch.eye(3)[[target]])
        # A step of this size can still be squared and summed over a thousand rows in float32.
        assert exact.abs().max() < 1e15
        assert binary.abs().max() < 1e15
    assert torch.isfinite(CrossEntropyLoss()(outputs, torch.tensor([target])))


BAD_TARGETS = [
    (
        MSELoss(),
        torch.zeros(6),
        "targets of torch.float32 and shape (6,); expected torch.float64 and the outputs' shape",
    ),
    (MSELoss(), classes(6, 4), "class indices need a one-hot encoding"),
    (MSELoss(), normal(6, 4).float(), "targets of torch.float32 and shape (6, 4); expected torch.float64"),
    (MSELoss(), normal(5, 4), "5 targets for 6 rows of outputs"),
    (MSELoss(), torch.tensor(1.0), "scalar targets for 6 rows of outputs"),
    (MSELoss(), torch.zeros(6, 4, dtype=torch.float64, device="meta"), "targets on meta, outputs on cpu"),
    (
        CrossEntropyLoss(),
        torch.tensor([0, 1, 2, 3, 4, 0]),
        "class indices from 0 to 4; with 4 outputs expected 0 to 3",
    ),
    (CrossEntropyLoss(), torch.tensor([0, 1, 2, 3, -1, 0]), "class indices from -1 to 3"),
    (CrossEntropyLoss(), classes(6, 4).int(), "expected class indices (n,) of torch.int64, or probabilities (n, 4)"),
    (CrossEntropyLoss(), normal(6, 4), "probability targets must not be negative"),
    (CrossEntropyLoss(), torch.ones(6, 4, dtype=torch.float64), "must sum to 1 in each row"),
    (BCEWithLogitsLoss(), normal(6, 4), "expected probabilities in [0, 1]"),
    (BCEWithLogitsLoss(), torch.ones(6, 4, dtype=torch.int64), "convert labels with targets.to(outputs.dtype)"),
]


@pytest.mark.parametrize(("loss", "targets", "message"), BAD_TARGETS)
def test_bad_targets_are_refused(loss, targets, message):
    for method in (loss, loss.direction, loss.hessian):
        with pytest.raises((ValueError, TypeError), match=re.escape(message)):
            method(normal(6, 4), targets)


@pytest.mark.parametrize("outputs", [torch.zeros(0, 4), torch.zeros(4)])
def test_bad_outputs_are_refused(outputs):
    with pytest.raises(ValueError, match=re.escape("expected (n, d_out) with at least one row")):
        MSELoss()(outputs, outputs)


BAD_OPTIONS = [
    (lambda: CrossEntropyLoss(curvature="exakt"), "unknown curvature 'exakt'; did you mean 'exact'?"),
    (lambda: CrossEntropyLoss("exact", damping=-1.0), "damping must be finite and not negative, got -1.0"),
    (lambda: CrossEntropyLoss("exact", damping=math.nan), "damping must be finite and not negative, got nan"),
    (lambda: CrossEntropyLoss(damping=0.1), "damping=0.1 has no meaning with curvature='identity'"),
    (lambda: CrossEntropyLoss(label_smoothing=1.5), "label_smoothing must lie in [0, 1], got 1.5"),
    (lambda: BCEWithLogitsLoss(damping=math.inf), "damping must be finite and not negative, got inf"),
]


@pytest.mark.parametrize(("make", "message"), BAD_OPTIONS)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_a_loss_of_ones_own_needs_four_methods():
    class Quartic(GaussNewtonLoss):
        def _check_targets(self, outputs, targets):
            pass

        def _value(self, outputs, targets):
            return 0.25 * (outputs - targets).pow(4).sum(-1).mean()

        def _direction(self, outputs, targets):
            return (outputs - targets) / 3

        def _hessian(self, outputs, targets):
            return (3 * (outputs - targets).square()).diag_embed()

    outputs, targets = normal(3, 2), normal(3, 2, seed=1)
    gradient = (outputs - targets).pow(3)
    solved = torch.linalg.solve(Quartic().hessian(outputs, targets), gradient)
    torch.testing.assert_close(Quartic().direction(outputs, targets), solved)
