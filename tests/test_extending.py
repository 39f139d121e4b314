"""How to add a part, as CONTRIBUTING promises: one of each kind of one's own, in use."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import oracles
import revgn
from networks import normal
from revgn.control import Control
from revgn.losses import GaussNewtonLoss, MSELoss
from revgn.nn import Coupling, Layout, RandomFeatures, ReversibleBlock, ReversibleNetwork, SharedFeatures
from revgn.right_inverses import Change, Linearized, RightInverse
from revgn.solvers import Factor, Solution, Solver
from tables import RIGHT_INVERSES, each

INPUTS, TARGETS = normal(12, 5), normal(12, 2, seed=1)


def mlp(middle=None):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 30), middle or nn.Tanh(), nn.Linear(30, 2)).double()


# A layer -------------------------------------------------------------------------------------------------------------


class Polynomial(nn.Module):
    """y = [z, z^2, z^3] W, linear in W."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(width, 3 * width))

    def features(self, z):
        return torch.cat((z, z**2, z**3), dim=-1)

    def forward(self, z):
        return self.features(z) @ self.weight.mT


@revgn.nn.layer_uses.register
def _(module: Polynomial, inputs: torch.Tensor) -> list[revgn.nn.Use]:
    return [revgn.nn.Affine(module.weight, None, module.features(inputs).unsqueeze(1))]


class Misregistered(Polynomial):
    """Its registration forgets the cubes."""

    def forward(self, z):
        return super().forward(z)


@revgn.nn.layer_uses.register
def _(module: Misregistered, inputs: torch.Tensor) -> list[revgn.nn.Use]:
    return [revgn.nn.Affine(module.weight, None, (module.features(inputs) * (inputs[:, :1] > 9)).unsqueeze(1))]


def test_a_layer_that_is_registered_takes_part_layer_by_layer():
    model = mlp(Polynomial(30).double())
    jacobian = revgn.Jacobian(model, INPUTS)
    j = oracles.jacobian(model, INPUTS)
    np.testing.assert_allclose(jacobian.gram().numpy(), j @ j.T, rtol=1e-11, atol=1e-11 * np.linalg.norm(j @ j.T))
    assert all(type(block).__name__ == "AffineBlock" for block in jacobian.blocks)
    for case in RIGHT_INVERSES.values():
        if case.any_module:
            optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse=case.right_inverse)
            assert optimizer.backward(INPUTS, TARGETS).exact


def test_a_wrong_registration_never_makes_a_wrong_kernel():
    model = mlp(Misregistered(30).double())
    j = oracles.jacobian(model, INPUTS)
    kernel = revgn.Jacobian(model, INPUTS).gram().numpy()
    np.testing.assert_allclose(kernel, j @ j.T, rtol=1e-11, atol=1e-11 * np.linalg.norm(j @ j.T))


# A layout of shared weights ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs(Layout):
    """Every two entries of a half see each other, and those before them in a ring."""

    width: int
    seen = 4
    given = 2

    @property
    def positions(self):
        return self.width // 2

    def see(self, half):
        pairs = half.unflatten(1, (-1, 2))
        return torch.cat((pairs, pairs.roll(1, dims=1)), dim=2).flatten(0, 1)

    def split(self, half):
        return half.reshape(-1, 2)

    def join(self, rows):
        return rows.reshape(-1, self.width)


@each("case", RIGHT_INVERSES, lambda case: case.exact)
def test_a_layout_of_ones_own_takes_part_in_every_step(case):
    torch.manual_seed(0)

    def coupling():
        return Coupling(SharedFeatures(RandomFeatures(4, 80), Pairs(8)), init_std=0.2)

    blocks = [ReversibleBlock(coupling(), coupling()) for _ in range(2)]
    model = ReversibleNetwork(blocks, in_features=16, out_features=2, state_features=16).double()
    inputs = normal(12, 16)
    torch.testing.assert_close(model.inverse(model.state(inputs)), inputs)
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse=case.right_inverse)
    assert optimizer.backward(inputs, TARGETS).exact


# A loss --------------------------------------------------------------------------------------------------------------


class Quartic(GaussNewtonLoss):
    """e^2 / 2 + e^4 / 10 of e = F - Y, summed over outputs: everything else is had by autograd."""

    def value(self, outputs, targets):
        e = outputs - targets
        return (e**2 / 2 + e**4 / 10).sum(-1)


@each("case", RIGHT_INVERSES, lambda case: case.exact and case.same_as is None)
def test_a_loss_that_knows_its_value_trains(case):
    torch.manual_seed(0)
    options = {"num_blocks": 2, "hidden_features": 60, "state_features": 16, "init_std": 0.3, "activation": "tanh"}
    model = revgn.RevMLP(5, 2, **options).double()
    optimizer = revgn.GaussNewton(model, Quartic(), right_inverse=case.right_inverse, lr=0.5)
    losses = []
    for _ in range(16):
        losses.append(optimizer.backward(INPUTS, TARGETS).loss)
        optimizer.step()
    assert losses[-1] < 1e-2 * losses[0]


# A solver ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Normal(Solver):
    """x = (A^T A + lambda I)^-1 A^T u by the normal equations written out."""

    def factor_map(self, map, state):
        return NormalFactor(map, self)


class NormalFactor(Factor):
    def invert(self, target, damping):
        a = self.map.dense()
        ridge = (damping or 0.0) * a.square().sum() / min(a.shape)
        x = torch.linalg.pinv(a.mT @ a + ridge * torch.eye(a.shape[1], dtype=a.dtype), hermitian=True) @ (a.mT @ target)
        return Solution(self.map.split(x), None, self.map, target)


@each("case", RIGHT_INVERSES, lambda case: case.same_as is None)
def test_a_solver_serves_every_right_inverse(case):
    torch.manual_seed(0)
    model = revgn.RevMLP(5, 2, num_blocks=2, hidden_features=60, state_features=16, activation="tanh").double()
    ours, theirs = (
        revgn.GaussNewton(model, MSELoss(), right_inverse=case.right_inverse, solver=solver).direction(INPUTS, TARGETS)
        for solver in (Normal(), None)
    )
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-7)


# A right inverse -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Steepest(RightInverse):
    """The gradient, as long as it decreases a squared error most: no right inverse at all, and told so."""

    def linearize(self, model, inputs, parameters):
        return SteepestAt(revgn.Jacobian(model, inputs, parameters))


class SteepestAt(Linearized):
    def __init__(self, jacobian):
        self.jacobian = jacobian
        self.outputs = jacobian.outputs

    def change(self, equation, factor):
        gradient = self.jacobian.adjoint(equation.r)
        moved = self.jacobian.apply(gradient)
        length = (moved * equation.r).sum() / moved.square().sum()
        return Change({p: length * g for p, g in gradient.items()}, defect=0.0, moved=length * moved)


def test_a_right_inverse_is_certified_whatever_it_says_of_itself():
    model = mlp()
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse=Steepest())
    report = optimizer.backward(INPUTS, TARGETS)
    optimizer.step()
    assert not report.exact
    assert report.defect > 0.1
    assert report.status == "least squares"
    assert MSELoss()(model(INPUTS), TARGETS).item() < report.loss


# A control -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Halved(Control):
    """The step, or a half, a quarter, ... of it, whichever leads lowest."""

    def decide(self, trial, memory):
        best = min((trial.attempt(0.5**k) for k in range(8)), key=lambda attempt: attempt.loss)
        return best if best.loss < best.before else None


def test_a_control_of_ones_own():
    model = mlp()
    optimizer = revgn.GaussNewton(model, MSELoss(), control=Halved())
    reports = [optimizer.step(INPUTS, TARGETS) for _ in range(12)]
    assert reports[-1].new_loss < 1e-10
    assert all(b.new_loss < a.new_loss for a, b in itertools.pairwise(reports) if b.accepted)
