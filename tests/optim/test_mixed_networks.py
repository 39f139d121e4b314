"""Ordinary modules around a reversible trunk: one backward, the trunk by Gauss-Newton, the rest by gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import revgn
from networks import classes, normal, rev_mlp
from revgn.losses import CrossEntropyLoss, MSELoss


class Mixed(nn.Module):
    """A convolution, a reversible trunk, and a head."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.stem = nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 2, 3, padding=1), nn.Flatten(), nn.Tanh())
            self.trunk = rev_mlp(16, 6, dtype=torch.float32)
            self.head = nn.Linear(6, 3)
        self.double()

    def forward(self, inputs):
        return self.head(self.trunk(self.stem(inputs)))


INPUTS = normal(20, 8)


def mixed(right_inverse, loss, lr=1.0):
    model = Mixed()
    optimizer = revgn.GaussNewton(model, loss, lr, params=model.trunk.parameters(), right_inverse=right_inverse)
    return model, optimizer, [*model.stem.parameters(), *model.head.parameters()]


@pytest.mark.parametrize("right_inverse", ["adjoint", "moore-penrose"])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_backward_writes_the_trunks_change_and_the_others_gradients(right_inverse, weighted):
    targets, weights = classes(20, 3), (normal(20, seed=3).abs() if weighted else None)
    model, optimizer, others = mixed(right_inverse, CrossEntropyLoss())
    report = optimizer.backward(INPUTS, targets, weights)
    assert report.exact
    each = functional.cross_entropy(model(INPUTS), targets, reduction="none")
    true = torch.autograd.grad(each.mean() if weights is None else (weights * each).sum() / weights.sum(), others)
    for p, gradient in zip(others, true, strict=True):
        torch.testing.assert_close(p.grad, gradient)
    # The trunk's change alone moves the outputs by r.
    change = {name: p.grad for name, p in model.named_parameters() if name.startswith("trunk.")}
    outputs = model(INPUTS).detach()
    short = 1e-6
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name in change:
                p -= short * change[name]
    moved = (outputs - model(INPUTS)) / short
    torch.testing.assert_close(moved, outputs.softmax(1) - functional.one_hot(targets, 3), rtol=1e-3, atol=1e-4)


def test_one_loop_trains_both():
    targets = normal(20, 3, seed=5)
    model, optimizer, others = mixed("adjoint", MSELoss(), lr=0.5)
    adam = torch.optim.Adam(others, lr=1e-2)
    before = [p.detach().clone() for p in model.parameters()]
    losses = []
    for _ in range(12):
        losses.append(optimizer.backward(INPUTS, targets).loss)
        optimizer.step()
        adam.step()
    assert losses[-1] < 1e-2 * losses[0]
    assert all(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


def test_frozen_parameters_get_no_gradient():
    model, optimizer, _ = mixed("adjoint", MSELoss())
    model.head.requires_grad_(False)
    optimizer.backward(INPUTS, normal(20, 3, seed=5))
    assert all(p.grad is None for p in model.head.parameters())
    assert all(p.grad is not None for p in model.stem.parameters())


def test_a_step_that_fails_leaves_every_gradient_as_it_was():
    model, optimizer, others = mixed("adjoint", MSELoss())
    for p in model.parameters():
        p.grad = torch.full_like(p, 7.0)
    targets = normal(20, 3)
    targets[3] = torch.nan
    with pytest.raises(FloatingPointError):
        optimizer.backward(INPUTS, targets)
    assert all(bool((p.grad == 7.0).all()) for p in [*model.trunk.parameters(), *others])
