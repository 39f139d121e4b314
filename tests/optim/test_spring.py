"""SPRING: momentum whose own motion is not asked of the step again."""

import io

import numpy as np
import pytest
import torch

import oracles
import revgn
from networks import normal, rev_mlp
from revgn.losses import MSELoss
from tables import RIGHT_INVERSES, each

BATCHES = [(normal(6, 16, seed=seed), normal(6, 3, seed=seed + 50)) for seed in range(4)]


def optimizer(model, **options):
    return revgn.GaussNewton(model, MSELoss(), 0.5, momentum=0.8, spring=True, **options)


def train(opt, batches):
    reports = []
    for inputs, targets in batches:
        reports.append(opt.backward(inputs, targets))
        opt.step()
    return reports


def momentum_of(opt):
    return np.concatenate([opt.state[p]["momentum_buffer"].numpy().ravel() for p in opt.model.parameters()])


def test_the_steps_are_those_of_the_formula():
    """d <- mu d + J^+ (r - mu J d), written out with the dense J and numpy's pinv."""
    model = rev_mlp()
    opt = optimizer(model, right_inverse="moore-penrose")
    d = np.zeros(sum(p.numel() for p in model.parameters()))
    for inputs, targets in BATCHES:
        j = oracles.jacobian(model, inputs)
        r = (model(inputs).detach() - targets).numpy().ravel()
        d = 0.8 * d + np.linalg.pinv(j) @ (r - 0.8 * j @ d)
        train(opt, [(inputs, targets)])
        np.testing.assert_allclose(momentum_of(opt), d, rtol=1e-8, atol=1e-8 * np.abs(d).max())


@each("case", RIGHT_INVERSES, lambda case: case.exact and not case.slow)
def test_momentum_and_step_together_move_the_outputs_by_r(case):
    opt = optimizer(rev_mlp(), right_inverse=case.right_inverse)
    for inputs, targets in BATCHES:
        j = oracles.jacobian(opt.model, inputs)
        r = (opt.model(inputs).detach() - targets).numpy().ravel()
        (report,) = train(opt, [(inputs, targets)])
        assert report.exact
        assert np.linalg.norm(j @ momentum_of(opt) - r) <= 1e-9 * np.linalg.norm(r)
        # At half the length a quarter of the squared error is left: the prediction knows what momentum moves.
        assert report.predicted_loss == pytest.approx(report.loss / 4)


def test_groups_with_rates_of_their_own_are_predicted_with_momentum():
    model = rev_mlp()
    first, *rest = model.parameters()
    opt = optimizer(model, params=[{"params": [first], "lr": 1e-3}, {"params": rest, "lr": 2e-3}])
    train(opt, BATCHES[:1])
    inputs, targets = BATCHES[1]
    (report,) = train(opt, BATCHES[1:2])
    reached = MSELoss()(model(inputs), targets).item()
    assert reached - report.loss == pytest.approx(report.predicted_loss - report.loss, rel=2e-2)


def test_training_goes_on_from_a_saved_state_as_if_never_stopped():
    whole = optimizer(rev_mlp())
    train(whole, BATCHES)
    first = optimizer(rev_mlp())
    train(first, BATCHES[:2])
    stream = io.BytesIO()
    torch.save({"model": first.model.state_dict(), "optimizer": first.state_dict()}, stream)
    stream.seek(0)
    saved = torch.load(stream)
    second = optimizer(rev_mlp(seed=9))
    second.model.load_state_dict(saved["model"])
    second.load_state_dict(saved["optimizer"])
    train(second, BATCHES[2:])
    for mine, its in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(mine, its)


@pytest.mark.parametrize("options", [{"momentum": 0.0}, {"dampening": 0.1}, {"nesterov": True}], ids=str)
def test_what_it_cannot_go_with_is_refused(options):
    with pytest.raises(ValueError, match="spring=True corrects momentum"):
        revgn.GaussNewton(rev_mlp(), MSELoss(), **({"momentum": 0.8, "spring": True} | options))
