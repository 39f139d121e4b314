"""Precision and modes of autograd around a step: autocast, GradScaler, half, no_grad, inference mode, devices."""

import re

import pytest
import torch
from torch import nn

import revgn
from networks import normal
from revgn.losses import CrossEntropyLoss, MSELoss

INPUTS, TARGETS = normal(10, 4), normal(10, 2, seed=5)


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 2)).to(dtype)


def reversible():
    generator = torch.Generator().manual_seed(0)
    return revgn.RevMLP(4, 2, num_blocks=2, hidden_features=40, dtype=torch.float64, generator=generator)


STEPS = {
    "moore-penrose": lambda: revgn.GaussNewton(network(), MSELoss()),
    "adjoint": lambda: revgn.GaussNewton(network(), MSELoss(), right_inverse="adjoint"),
    "reversible": lambda: revgn.GaussNewton(reversible(), MSELoss()),
    "levenberg-marquardt": lambda: revgn.LevenbergMarquardt(network()),
}


def assert_same(first, second):
    for name in first:
        assert torch.equal(first[name], second[name])


@pytest.mark.parametrize("make", STEPS.values(), ids=STEPS)
class TestModes:
    def test_no_grad_and_inference_mode_change_nothing(self, make):
        expected = make().direction(INPUTS, TARGETS)
        for mode in (torch.no_grad, torch.inference_mode):
            optimizer = make()
            with mode():
                assert_same(expected, optimizer.direction(INPUTS, TARGETS))
                optimizer.backward(INPUTS, TARGETS)
            assert not any(p.grad.is_inference() for p in optimizer.model.parameters())

    def test_steps_within_inference_mode_train(self, make):
        optimizer, expected = make(), make()
        with torch.inference_mode():
            assert optimizer.step(INPUTS, TARGETS).accepted
        assert expected.step(INPUTS, TARGETS).accepted
        for p, q in zip(optimizer.model.parameters(), expected.model.parameters(), strict=True):
            assert torch.equal(p, q)
            assert not p.is_inference()

    def test_tensors_that_inference_mode_has_made_are_refused(self, make):
        with torch.inference_mode():
            inputs, targets = INPUTS.clone(), TARGETS.clone()
        for batch, name in (((inputs, TARGETS), "inputs"), ((INPUTS, targets), "targets")):
            with pytest.raises(ValueError, match=f"{name} made in torch.inference_mode.*or call {name}.clone"):
                make().step(*batch)

    def test_the_default_device_is_not_where_tensors_are_made(self, make):
        optimizer, expected = make(), make().direction(INPUTS, TARGETS)
        try:
            torch.set_default_device("meta")  # a tensor made there would have no values
            assert_same(expected, optimizer.direction(INPUTS, TARGETS))
            assert optimizer.step(INPUTS, TARGETS).accepted
        finally:
            torch.set_default_device(None)

    def test_a_model_that_became_half_is_refused(self, make):
        optimizer = make()
        optimizer.model.half()
        with pytest.raises((TypeError, ValueError), match=r"torch\.float16.*float32"):
            optimizer.backward(INPUTS.half(), TARGETS.half())


def test_the_default_device_with_a_curvature():
    classes, model = torch.arange(10) % 2, network()
    expected = revgn.GaussNewton(model, CrossEntropyLoss("exact", class_weight=[1.0, 2.0])).direction(INPUTS, classes)
    try:
        torch.set_default_device("meta")
        optimizer = revgn.GaussNewton(model, CrossEntropyLoss("exact", class_weight=[1.0, 2.0]))
        assert_same(expected, optimizer.direction(INPUTS, classes))
    finally:
        torch.set_default_device(None)


def test_a_model_of_half_precision_or_made_in_inference_mode_is_refused():
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(ValueError, match=r"needs float32 or float64: model\.float\(\)"):
            revgn.GaussNewton(network(dtype), MSELoss())
    with torch.inference_mode():
        model = network()
    with pytest.raises(ValueError, match=r"0\.weight was made in torch\.inference_mode.*outside of inference mode"):
        revgn.GaussNewton(model, MSELoss())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_around_backward_and_step_changes_nothing(dtype):
    model = network(torch.float32)
    optimizer = revgn.GaussNewton(model, MSELoss())
    expected = optimizer.direction(INPUTS.float(), TARGETS.float())
    with torch.autocast("cpu", dtype=dtype):
        assert model(INPUTS.float()).dtype == dtype
        assert_same(expected, optimizer.direction(INPUTS.float(), TARGETS.float()))
        assert optimizer.step(INPUTS.float(), TARGETS.float()).exact


class TestGradScaler:
    @staticmethod
    def prepared(enabled):
        optimizer = revgn.GaussNewton(network(torch.float32), MSELoss())
        scaler = torch.amp.GradScaler("cpu", enabled=enabled)
        scaler.scale(torch.ones(()))
        optimizer.backward(INPUTS.float(), TARGETS.float())
        return optimizer, scaler

    def test_it_is_refused_since_it_would_divide_the_change_by_its_scale(self):
        optimizer, scaler = self.prepared(enabled=True)
        before = [p.detach().clone() for p in optimizer.model.parameters()]
        message = "call optimizer.step() in place of scaler.step(optimizer), or make GradScaler(enabled=False)"
        with pytest.raises(TypeError, match=re.escape(message)):
            scaler.step(optimizer)
        for p, q in zip(before, optimizer.model.parameters(), strict=True):
            assert torch.equal(p, q)

    def test_turned_off_it_passes_the_step_on(self):
        optimizer, scaler = self.prepared(enabled=False)
        expected, _ = self.prepared(enabled=False)
        scaler.step(optimizer)
        scaler.update()
        expected.step()
        for p, q in zip(optimizer.model.parameters(), expected.model.parameters(), strict=True):
            assert torch.equal(p, q)
