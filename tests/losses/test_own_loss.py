"""Losses that users write: `value` is enough, closed forms take its derivatives' place."""

import math
import re

import pytest
import torch

from networks import normal
from revgn.losses import GaussNewtonLoss


class LogCosh(GaussNewtonLoss):
    def value(self, outputs, targets):
        error = (outputs - targets).abs()
        return (error + torch.nn.functional.softplus(-2 * error) - math.log(2)).sum(-1)


class Quartic(GaussNewtonLoss):
    def value(self, outputs, targets):
        return 0.25 * (outputs - targets).pow(4).sum(-1)

    def gradient(self, outputs, targets):
        return (outputs - targets).pow(3)

    def curvature(self, outputs, targets):
        return (3 * (outputs - targets).square()).diag_embed()

    def direction(self, outputs, targets):
        return (outputs - targets) / 3


class Saddle(GaussNewtonLoss):
    """Curved upwards by 2 along the first output and downwards along the second."""

    def value(self, outputs, targets):
        return outputs[:, 0].square() - outputs[:, 1].square() + 0 * targets.sum(-1)


class Branching(GaussNewtonLoss):
    """Written for one row at a time, as torch cannot vectorise it."""

    def value(self, outputs, targets):
        return torch.stack(
            [
                x.square().sum() * (3.0 if x.sum().item() > 0 else 1.0) + 0 * y.sum()
                for x, y in zip(outputs, targets, strict=True)
            ]
        )


def data():
    return normal(5, 3), normal(5, 3, seed=1)


def test_value_alone_gives_gradient_curvature_and_direction():
    outputs, targets = data()
    error, loss = outputs - targets, LogCosh()
    slope, bend = error.tanh(), 1 / error.cosh().square()
    torch.testing.assert_close(loss(outputs, targets), error.cosh().log().sum(-1).mean())
    torch.testing.assert_close(loss.gradient(outputs, targets), slope)
    torch.testing.assert_close(loss.curvature(outputs, targets), bend.diag_embed())
    torch.testing.assert_close(loss.direction(outputs, targets), slope / bend)
    root = loss.root(outputs, targets)
    torch.testing.assert_close(root.mT @ root, bend.diag_embed())


def test_closed_forms_agree_with_the_defaults():
    outputs, targets = data()
    for name in ("gradient", "curvature", "direction"):
        default = getattr(GaussNewtonLoss, name)
        torch.testing.assert_close(
            getattr(Quartic(), name)(outputs, targets), default(Quartic(), outputs, targets), rtol=1e-9, atol=1e-9
        )


def test_defaults_work_without_gradients_and_leave_no_graph():
    outputs, targets = data()
    with torch.no_grad():
        expected = LogCosh().gradient(outputs, targets), LogCosh().curvature(outputs, targets)
    outputs.requires_grad_()
    for method, value in zip((LogCosh().gradient, LogCosh().curvature), expected, strict=True):
        found = method(outputs, targets)
        assert not found.requires_grad
        torch.testing.assert_close(found, value)


def test_negative_curvature_is_set_to_zero_and_not_followed():
    outputs, targets = normal(4, 2), torch.zeros(4, 2, dtype=torch.float64)
    expected = torch.diag(torch.tensor([2.0, 0.0], dtype=torch.float64)).expand(4, -1, -1)
    torch.testing.assert_close(Saddle().curvature(outputs, targets), expected)
    torch.testing.assert_close(
        Saddle().direction(outputs, targets), outputs * torch.tensor([1.0, 0.0], dtype=torch.float64)
    )
    assert Saddle().root(outputs, targets).shape == (4, 1, 2)


def test_a_loss_without_any_positive_curvature_has_a_root_of_one_zero_row():
    class Downwards(GaussNewtonLoss):
        def value(self, outputs, targets):
            mixed = outputs @ normal(3, 3, seed=3)
            return -mixed.square().sum(-1) + 0 * targets.sum(-1)

    outputs, targets = data()
    assert (Downwards().curvature(outputs, targets) == 0).all()
    assert (Downwards().direction(outputs, targets) == 0).all()
    assert torch.equal(Downwards().root(outputs, targets), torch.zeros(5, 1, 3, dtype=torch.float64))


def test_curvature_of_a_value_that_torch_cannot_vectorise():
    outputs, targets = data()
    factor = torch.where(outputs.sum(-1) > 0, 6.0, 2.0)
    assert len(factor.unique()) == 2
    expected = factor.view(-1, 1, 1) * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(Branching().curvature(outputs, targets), expected)


def test_a_value_that_is_linear_in_the_outputs_has_no_curvature():
    class Linear(GaussNewtonLoss):
        def value(self, outputs, targets):
            return (outputs * targets).sum(-1)

    outputs, targets = data()
    for linear_targets in (targets, targets.clone().requires_grad_()):
        assert torch.equal(Linear().curvature(outputs, linear_targets), torch.zeros(5, 3, 3, dtype=torch.float64))


def test_half_precision_is_decomposed_in_float32():
    outputs, targets = (x.bfloat16() for x in data())
    direction = LogCosh().direction(outputs, targets)
    assert direction.dtype == torch.bfloat16
    error = (outputs - targets).float()
    torch.testing.assert_close(direction.float(), error.tanh() * error.cosh().square(), rtol=0.1, atol=0.1)


def test_a_loss_without_value_says_what_to_implement():
    class Empty(GaussNewtonLoss):
        pass

    for method in (Empty(), Empty().value, Empty().gradient, Empty().curvature):
        with pytest.raises(
            NotImplementedError, match=re.escape("Empty must implement value(outputs, targets) -> (n,)")
        ):
            method(*data())


def test_a_value_that_is_no_value_a_row_is_refused():
    class Mean(GaussNewtonLoss):
        def value(self, outputs, targets):
            return torch.nn.functional.mse_loss(outputs, targets)

    with pytest.raises(ValueError, match=re.escape("Mean.value gave shape (); expected one value a row, (5,)")):
        Mean()(*data())


def test_a_loss_of_ones_own_checks_its_targets():
    class Positive(LogCosh):
        def check_targets(self, outputs, targets):
            if (targets <= 0).any():
                raise ValueError("targets must be positive")

    with pytest.raises(ValueError, match="targets must be positive"):
        Positive()(*data())
    Positive().check(data()[0], data()[1].exp())
