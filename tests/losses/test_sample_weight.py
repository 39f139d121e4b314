"""Weights of samples: what they mean, and which are refused."""

import math
import re

import pytest
import torch

from networks import normal
from revgn.losses import MSELoss
from tables import LOSSES


@pytest.fixture(params=LOSSES.values(), ids=LOSSES)
def problem(request):
    return *request.param.drawn(6, 4), normal(6, 4)


def gradient(loss, outputs, targets, weight=None):
    outputs = outputs.clone().requires_grad_()
    return torch.autograd.grad(loss(outputs, targets, weight), outputs)[0]


def test_integer_weights_are_repeated_rows(problem):
    loss, targets, outputs = problem
    repeats = torch.tensor([1, 3, 2, 1, 4, 1])
    many = outputs.repeat_interleave(repeats, 0).requires_grad_()
    value = loss(many, targets.repeat_interleave(repeats, 0))
    (of_many,) = torch.autograd.grad(value, many)
    summed = torch.stack([part.sum(0) for part in of_many.split(repeats.tolist())])
    torch.testing.assert_close(loss(outputs, targets, repeats.double()), value)
    torch.testing.assert_close(gradient(loss, outputs, targets, repeats.double()), summed)


def test_rows_of_weight_zero_are_left_out(problem):
    loss, targets, outputs = problem
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 1.0], dtype=torch.float64)
    kept = weight > 0
    torch.testing.assert_close(
        loss(outputs, targets, weight), loss(outputs[kept], targets[kept], weight[kept]), rtol=1e-12, atol=0
    )
    assert (gradient(loss, outputs, targets, weight)[~kept] == 0).all()
    assert (loss.root(outputs, targets, weight)[~kept] == 0).all()


@pytest.mark.parametrize("scale", [1e-300, 1e-3, 7.0, 1e300])
def test_the_scale_of_weights_does_not_matter(problem, scale):
    loss, targets, outputs = problem
    weight = normal(6, seed=5).abs() + 0.1
    torch.testing.assert_close(loss(outputs, targets, scale * weight), loss(outputs, targets, weight))
    root = loss.root(outputs, targets, weight)
    again = loss.root(outputs, targets, scale * weight)
    torch.testing.assert_close(again.mT @ again, root.mT @ root)


def test_equal_weights_are_no_weights(problem):
    loss, targets, outputs = problem
    ones = torch.full((6,), 3.0, dtype=torch.float64)
    torch.testing.assert_close(loss(outputs, targets, ones), loss(outputs, targets))
    torch.testing.assert_close(gradient(loss, outputs, targets, ones), gradient(loss, outputs, targets))


def test_the_mean_is_the_weighted_mean_of_the_values(problem):
    loss, targets, outputs = problem
    weight = normal(6, seed=5).abs()
    expected = (weight * loss.value(outputs, targets)).sum() / weight.sum()
    torch.testing.assert_close(loss.mean(outputs, targets, weight), expected)
    torch.testing.assert_close(loss.mean(outputs, targets), loss.value(outputs, targets).mean())


def six(*values, dtype=torch.float64):
    return torch.tensor([*values, 1, 1, 1, 1, 1][:6], dtype=dtype)


BAD_WEIGHTS = [
    ([1.0] * 6, TypeError, "sample_weight of type list; expected a tensor of torch.float64"),
    (normal(5).abs(), ValueError, "sample_weight of shape (5,); expected one weight a row: (6,)"),
    (normal(6, 1).abs(), ValueError, "sample_weight of shape (6, 1); expected one weight a row: (6,)"),
    (torch.tensor(1.0), ValueError, "sample_weight of shape (); expected one weight a row: (6,)"),
    (six(2, dtype=torch.int64), TypeError, "sample_weight of torch.int64; expected the outputs' torch.float64"),
    (six(0, dtype=torch.bool), TypeError, "sample_weight.to(outputs.dtype)"),
    (six(2, dtype=torch.float32), TypeError, "sample_weight of torch.float32; expected the outputs' torch.float64"),
    (six(1).to("meta"), ValueError, "sample_weight on meta, outputs on cpu"),
    (six(math.nan), ValueError, "not finite; to leave a row out give it the weight 0"),
    (six(math.inf), ValueError, "not finite"),
    (six(-0.5), ValueError, "sample_weight from -0.5 to 1; expected none negative"),
    (torch.zeros(6, dtype=torch.float64), ValueError, "sample_weight is zero in every row"),
]


@pytest.mark.parametrize(("weight", "error", "message"), BAD_WEIGHTS)
def test_bad_weights_are_refused(weight, error, message):
    loss = MSELoss()
    for method in (loss, loss.check):
        with pytest.raises(error, match=re.escape(message)):
            method(normal(6, 4), normal(6, 4, seed=1), weight)
