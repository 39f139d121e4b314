"""Training loops as people write them: schedulers, clipping, accumulation, hooks, closures, copies."""

import copy
import io
import pickle
import re

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import revgn
from networks import normal
from revgn.losses import MSELoss

INPUTS, TARGETS = normal(10, 4), normal(10, 2, seed=5)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 2)).double()


def gauss_newton(model=None, **options):
    return revgn.GaussNewton(network() if model is None else model, MSELoss(), **options)


def values(optimizer):
    return [p.detach().clone() for p in optimizer.model.parameters()]


def train(optimizer, steps=3):
    for _ in range(steps):
        optimizer.backward(INPUTS, TARGETS)
        optimizer.step()
    return values(optimizer)


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


class TestSchedulers:
    SCHEDULERS = {
        "OneCycleLR": lambda opt: lr_scheduler.OneCycleLR(opt, max_lr=1.0, total_steps=6, cycle_momentum=False),
        "CosineAnnealingLR": lambda opt: lr_scheduler.CosineAnnealingLR(opt, T_max=6),
        "SequentialLR": lambda opt: lr_scheduler.SequentialLR(
            opt, [lr_scheduler.LinearLR(opt, 0.1, total_iters=3), lr_scheduler.ConstantLR(opt, 0.5)], [3]
        ),
        "LambdaLR, zero": lambda opt: lr_scheduler.LambdaLR(opt, lambda step: step / 5),
    }

    @pytest.mark.parametrize("case", SCHEDULERS)
    def test_every_step_is_as_long_as_the_scheduler_says(self, case):
        optimizer = gauss_newton()
        scheduler = self.SCHEDULERS[case](optimizer)
        rates = []
        for _ in range(6):
            before, rate = values(optimizer), scheduler.get_last_lr()[0]
            report = optimizer.backward(INPUTS, TARGETS)
            change = [p.grad.clone() for p in optimizer.model.parameters()]
            optimizer.step()
            scheduler.step()
            for old, new, moved in zip(before, values(optimizer), change, strict=True):
                torch.testing.assert_close(new, old - rate * moved)
            assert report.predicted_loss == pytest.approx((1 - rate) ** 2 * report.loss, abs=1e-12)
            rates.append(rate)
        assert len(set(rates)) > 1

    def test_on_a_plateau_the_scheduler_reads_the_loss_of_the_report(self):
        optimizer = gauss_newton(lr=1e-6)
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        for _ in range(4):
            report = optimizer.backward(INPUTS, TARGETS)
            optimizer.step()
            scheduler.step(report.loss)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-7)

    def test_a_scheduler_around_steps_that_a_control_judges(self):
        optimizer = gauss_newton(control=revgn.control.LineSearch())
        scheduler = lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        for _ in range(2):
            assert optimizer.step(INPUTS, TARGETS).accepted
            scheduler.step()  # warnings are errors: it has seen the steps
        assert optimizer.param_groups[0]["lr"] == 0.25

    def test_a_learning_rate_of_zero_moves_nothing(self):
        optimizer = gauss_newton(lr=0.0)
        before = values(optimizer)
        assert_same(train(optimizer), before)
        assert gauss_newton(lr=0.0, control=revgn.control.LineSearch()).step(INPUTS, TARGETS).status == "rejected"

    def test_one_cycle_moves_the_momentum_too_unless_told_not_to(self):
        optimizer = gauss_newton()
        lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=6)
        assert optimizer.param_groups[0]["momentum"] == 0.95  # as of torch's SGD; docs/habits.md says what to do


class TestGradients:
    def test_clipping_shortens_the_change_and_keeps_its_direction(self):
        for clip in (nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_):
            optimizer = gauss_newton()
            optimizer.backward(INPUTS, TARGETS)
            before = torch.cat([p.grad.flatten().clone() for p in optimizer.model.parameters()])
            clip(optimizer.model.parameters(), 0.1)
            after = torch.cat([p.grad.flatten() for p in optimizer.model.parameters()])
            cosine = torch.nn.functional.cosine_similarity(before, after, dim=0).item()
            if clip is nn.utils.clip_grad_norm_:
                assert after.norm().item() == pytest.approx(0.1, rel=1e-4)
                assert cosine == pytest.approx(1)
            else:  # cuts each entry by itself
                assert cosine < 0.999

    def test_a_clipped_step_moves_the_outputs_along_r(self):
        optimizer = gauss_newton()
        report = optimizer.backward(INPUTS, TARGETS)
        nn.utils.clip_grad_norm_(optimizer.model.parameters(), 1e-5)
        optimizer.step()
        moved, r = report.outputs - optimizer.model(INPUTS).detach(), report.outputs - TARGETS
        cosine = torch.nn.functional.cosine_similarity(moved.flatten(), r.flatten(), dim=0)
        assert cosine.item() == pytest.approx(1, abs=1e-6)

    def test_two_backward_calls_replace_and_do_not_accumulate(self):
        optimizer = gauss_newton()
        optimizer.backward(INPUTS[:5], TARGETS[:5])
        optimizer.backward(INPUTS[5:], TARGETS[5:])
        expected = gauss_newton().direction(INPUTS[5:], TARGETS[5:])
        assert_same([p.grad for p in optimizer.model.parameters()], expected.values())

    def test_zero_grad_before_backward_is_idle_and_after_it_discards_the_change(self):
        optimizer = gauss_newton()
        before = values(optimizer)
        for set_to_none in (True, False):
            optimizer.backward(INPUTS, TARGETS)
            optimizer.zero_grad(set_to_none=set_to_none)
            optimizer.step()
            assert_same(before, values(optimizer))
        assert not all(torch.equal(a, b) for a, b in zip(before, train(optimizer, 1), strict=True))

    @pytest.mark.parametrize("make", [gauss_newton, lambda: revgn.LevenbergMarquardt(network())])
    def test_the_gradient_of_loss_backward_is_not_taken_for_a_change(self, make):
        optimizer = make()
        before = values(optimizer)
        nn.MSELoss()(optimizer.model(INPUTS), TARGETS).backward()
        message = "call optimizer.backward(inputs, targets) in place of loss.backward()"
        with pytest.raises(RuntimeError, match=re.escape(message)):
            optimizer.step()
        assert_same(before, values(optimizer))

        def closure():
            loss = nn.MSELoss()(optimizer.model(INPUTS), TARGETS)
            loss.backward()
            return loss

        with pytest.raises(RuntimeError, match=re.escape(message)):
            optimizer.step(closure)

    def test_a_closure_calls_the_optimizer_s_backward(self):
        optimizer, expected = gauss_newton(), gauss_newton()
        report = optimizer.step(lambda: optimizer.backward(INPUTS, TARGETS))
        assert report.exact
        assert_same(values(optimizer), train(expected, 1))


class TestHooks:
    @pytest.mark.parametrize("sgd_was_made", [False, True])
    def test_hooks_run_once_a_step(self, sgd_was_made):
        if sgd_was_made:  # then torch has put hooks around SGD.step, which ours calls
            torch.optim.SGD(network().parameters())
        for optimizer in (gauss_newton(), revgn.LevenbergMarquardt(network())):
            seen = []
            optimizer.register_step_pre_hook(lambda *_, seen=seen: seen.append("pre"))
            optimizer.register_step_post_hook(lambda *_, seen=seen: seen.append("post"))
            optimizer.backward(INPUTS, TARGETS)
            optimizer.step()
            assert seen == ["pre", "post"]
            optimizer.step(INPUTS, TARGETS)
            assert seen == 2 * ["pre", "post"]

    @pytest.mark.parametrize("option", ["foreach", "fused", "maximize", "differentiable", "capturable"])
    def test_options_of_torch_that_do_not_apply(self, option):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
            gauss_newton(**{option: True})


class TestCopies:
    @pytest.mark.parametrize("make", [gauss_newton, lambda: revgn.LevenbergMarquardt(network())])
    @pytest.mark.parametrize("how", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
    def test_a_copy_of_model_and_optimizer_goes_its_own_way_to_the_same_end(self, make, how):
        optimizer = make()
        optimizer.step(INPUTS, TARGETS)
        model, copied = how((optimizer.model, optimizer))
        assert copied.model is model
        before = values(optimizer)
        copied.step(INPUTS, TARGETS)
        assert_same(before, values(optimizer))
        optimizer.step(INPUTS, TARGETS)
        assert_same(values(optimizer), values(copied))

    def test_a_copy_of_the_optimizer_alone_has_a_model_of_its_own(self):
        optimizer = gauss_newton(momentum=0.9)
        train(optimizer, 1)
        copied = copy.deepcopy(optimizer)
        assert copied.model is not optimizer.model
        assert_same(train(copied), train(optimizer))

    def test_state_dict_into_a_new_model_and_optimizer(self):
        straight = train(gauss_newton(momentum=0.9, lr=0.5), 4)
        first = gauss_newton(momentum=0.9, lr=0.5)
        train(first, 2)
        stream = io.BytesIO()
        torch.save([first.model.state_dict(), first.state_dict()], stream)
        stream.seek(0)
        model_state, state = torch.load(stream)
        second = gauss_newton(network(seed=1))
        second.model.load_state_dict(model_state)
        second.load_state_dict(state)
        assert_same(straight, train(second, 2))

    def test_a_moving_average_of_the_weights(self):
        optimizer = gauss_newton(lr=0.5)
        average = AveragedModel(optimizer.model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        expected = values(optimizer)
        for step in range(3):
            train(optimizer, 1)
            average.update_parameters(optimizer.model)
            now = values(optimizer)
            expected = now if step == 0 else [0.9 * a + 0.1 * b for a, b in zip(expected, now, strict=True)]
        for mean, p in zip(expected, average.module.parameters(), strict=True):
            torch.testing.assert_close(p.detach(), mean)
