"""State dicts from files that are damaged in one byte: loaded, or refused with nothing changed."""

import copy
import io
import re

import pytest
import torch
from torch import nn

import revgn
from damage import damaged
from networks import normal
from revgn.control import TrustRegion
from revgn.losses import MSELoss
from revgn.solvers import RunningCurvature
from snapshots import everything

BATCH = normal(6, 3), normal(6, 2, seed=1)


def begun():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    remembering = {"right_inverse": "adjoint", "solver": RunningCurvature(), "control": TrustRegion()}
    return model, revgn.GaussNewton(model, MSELoss(), 0.2, momentum=0.5, **remembering)


def trained():
    model, optimizer = begun()
    for _ in range(3):
        optimizer.step(*BATCH)
    return model, optimizer


def check(places, head):
    model, optimizer = trained()
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    refused = loaded = 0
    for name, content in damaged(file.getvalue(), places, head=head):
        try:
            state = torch.load(io.BytesIO(content), weights_only=True)
        except Exception:  # torch's own word for it; nothing of ours was asked
            continue
        fresh, its_optimizer = begun()
        fresh.load_state_dict(model.state_dict())
        before = everything(fresh, its_optimizer)
        try:
            its_optimizer.load_state_dict(state)
        except ValueError:
            assert everything(fresh, its_optimizer) == before, name
            refused += 1
            continue
        loaded += 1
        there = everything(fresh, its_optimizer)
        try:
            its_optimizer.step(*BATCH)
        except (ValueError, RuntimeError, FloatingPointError):
            assert everything(fresh, its_optimizer) == there, name
        assert all(bool(torch.isfinite(p).all()) for p in fresh.parameters()), name
    assert loaded
    return refused


def test_a_state_dict_of_a_damaged_file_is_refused_or_steps_from_it_are_finite():
    check(25, 4)


@pytest.mark.nightly
def test_the_same_at_every_fourth_byte():
    assert check(2000, 200) > 10


DAMAGE = {
    "no groups": (lambda s: s.pop("param_groups"), "the state dict holds no param_groups; load another copy"),
    "something else": (lambda s: s.update(state=[1]), "the state dict holds no state; load another copy"),
    "a number for a tensor": (
        lambda s: s["state"][0].update(momentum_buffer=1),
        "this is no state dict of an optimizer (AttributeError",
    ),
    "no state": (lambda s: s.pop("state"), "the state dict holds no state; load"),
    "an option missing": (lambda s: s["param_groups"][0].pop("lr"), "group 0 of the state dict lacks lr; load another"),
    "another shape": (
        lambda s: s["state"][0].update(momentum_buffer=torch.zeros(8, 4)),
        "the momentum of parameter 0 has shape (8, 4), expected (8, 3); load another copy, or the state of an",
    ),
    "infinity in momentum": (
        lambda s: s["state"][1]["momentum_buffer"].fill_(torch.inf),
        "the momentum of parameter 1 holds NaN or infinity; load another copy",
    ),
    "NaN in memory": (
        lambda s: s["state"][0]["solver"]["mean"].fill_(torch.nan),
        "the mean of parameter 0 holds NaN or infinity; load another copy",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_what_the_form_and_the_numbers_tell_is_said_and_nothing_is_changed(damage, message):
    state = copy.deepcopy(trained()[1].state_dict())
    damage(state)
    model, optimizer = trained()
    before = everything(model, optimizer)
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.load_state_dict(state)
    assert everything(model, optimizer) == before


def test_a_memory_that_lacks_a_part_is_refused_by_the_step():
    _, trained_optimizer = trained()
    state = copy.deepcopy(trained_optimizer.state_dict())
    del state["state"][0]["solver"]["renewed"]
    model, optimizer = begun()
    optimizer.load_state_dict(state)
    before = everything(model, optimizer)
    with pytest.raises(
        ValueError, match=r"what is remembered of a layer is mean, rows, step.* only; load another copy"
    ):
        optimizer.step(*BATCH)
    assert everything(model, optimizer) == before
