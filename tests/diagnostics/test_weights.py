import copy
import math

import numpy as np
import pytest
import torch

from networks import normal
from revgn.diagnostics import WeightChange, weight_change


def linear(*shape):
    return torch.nn.Linear(*shape, dtype=torch.float64)


def test_a_known_change_is_told_by_parameter():
    before = linear(2, 1)
    after = copy.deepcopy(before)
    with torch.no_grad():
        before.weight.copy_(torch.tensor([[3.0, 4.0]]))
        after.weight.copy_(torch.tensor([[4.0, -3.0]]))
        after.bias.copy_(-2 * before.bias)
    changes = weight_change(after, before)
    assert list(changes) == ["weight", "bias"]
    assert changes["weight"].norm == pytest.approx(2**0.5)
    assert changes["weight"].cosine == pytest.approx(0, abs=1e-15)
    assert changes["bias"].norm == pytest.approx(3)
    assert changes["bias"].cosine == -1


def test_what_did_not_move_did_not_change():
    module = linear(40, 30)
    for change in weight_change(module, copy.deepcopy(module)).values():
        assert change == WeightChange(0.0, 1.0)


def test_small_changes_survive_single_precision():
    before = torch.nn.Linear(100, 100)
    after = copy.deepcopy(before)
    with torch.no_grad():
        after.weight.mul_(1 + 2**-20)
    assert weight_change(after, before)["weight"].norm == pytest.approx(2**-20, rel=1e-2)


def test_a_change_from_nothing_is_infinite_and_has_no_angle():
    before, after = linear(2, 2), linear(2, 2)
    torch.nn.init.zeros_(before.bias)
    change = weight_change(after, before)["bias"]
    assert change.norm == math.inf
    assert math.isnan(change.cosine)
    torch.nn.init.zeros_(after.bias)
    assert weight_change(after, before)["bias"].norm == 0


class Weight(torch.nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_weights_change_by_real_and_imaginary_parts(dtype):
    before, after = (normal(4, 3, seed=seed, dtype=dtype) for seed in (0, 1))
    w0, w = before.numpy().astype(complex), after.numpy().astype(complex)
    change = weight_change(Weight(after), Weight(before))["weight"]
    assert change.norm == pytest.approx(np.linalg.norm(w - w0) / np.linalg.norm(w0), rel=1e-12)
    expected = np.vdot(w, w0).real / (np.linalg.norm(w) * np.linalg.norm(w0))
    assert change.cosine == pytest.approx(expected, rel=1e-12)


def test_a_turn_by_a_right_angle_is_a_change_of_complex_weights():
    before = normal(4, 3, dtype=torch.complex128)
    change = weight_change(Weight(1j * before), Weight(before))["weight"]
    assert change.norm == pytest.approx(2**0.5)
    assert change.cosine == pytest.approx(0, abs=1e-15)


def test_weights_that_became_complex_keep_their_imaginary_part():
    before = normal(4, 3)
    change = weight_change(Weight(before + 1j * before), Weight(before))["weight"]
    assert change.norm == pytest.approx(1)
    assert change.cosine == pytest.approx(0.5**0.5)
    assert weight_change(Weight(before.conj().to(torch.complex128).conj()), Weight(before))["weight"].norm == 0


def test_neither_module_is_touched():
    before, after = linear(2, 2), linear(2, 2)
    weight_change(after, before)
    assert before.weight.grad is None
    assert after.training


def test_other_architectures_are_refused():
    with pytest.raises(ValueError, match=r"unknown parameter .* 'bias'; known: weight; compare modules of one arch"):
        weight_change(linear(2, 3), torch.nn.Linear(2, 3, bias=False))
    with pytest.raises(ValueError, match=r"weight has shape \(3, 2\) in the model and \(3, 4\) in the reference"):
        weight_change(linear(2, 3), linear(4, 3))
