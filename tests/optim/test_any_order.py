"""Steps, failures, copies, saves and moves in any order that hypothesis finds: nothing is lost, and no report lies."""

import copy
import io
import pickle

import pytest
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from torch import nn

import revgn
from networks import normal, rev_mlp
from revgn.control import LineSearch, TrustRegion
from revgn.linear.functional import jvp
from revgn.losses import MSELoss
from revgn.solvers import Eigh, RunningCurvature
from snapshots import everything

ROWS, D_IN, D_OUT = 9, 6, 2


def plain(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(D_IN, 14), nn.Tanh(), nn.LayerNorm(14), nn.Linear(14, D_OUT)).double()


def reversible(seed):
    return rev_mlp(D_IN, D_OUT, num_blocks=2, hidden_features=30, activation="tanh", seed=seed)


OPTIMIZERS = {
    "moore-penrose": (plain, lambda model: revgn.GaussNewton(model, MSELoss(), 0.3, momentum=0.6)),
    "adjoint": (
        plain,
        lambda model: revgn.GaussNewton(model, MSELoss(), 0.3, right_inverse="adjoint", weight_decay=0.1),
    ),
    "running curvature": (
        plain,
        lambda model: revgn.GaussNewton(
            model, MSELoss(), 0.1, right_inverse="adjoint", solver=RunningCurvature(every=2), momentum=0.5
        ),
    ),
    "spring": (plain, lambda model: revgn.GaussNewton(model, MSELoss(), 0.3, momentum=0.5, spring=True)),
    "line search": (plain, lambda model: revgn.GaussNewton(model, MSELoss(), control=LineSearch())),
    "reversible": (reversible, lambda model: revgn.GaussNewton(model, MSELoss(), 0.3, momentum=0.6, nesterov=True)),
    "trust region": (
        reversible,
        lambda model: revgn.GaussNewton(model, MSELoss(), right_inverse="moore-penrose", control=TrustRegion()),
    ),
    "eigenvalues": (reversible, lambda model: revgn.GaussNewton(model, MSELoss(), 0.3, solver=Eigh())),
    "levenberg-marquardt": (plain, lambda model: revgn.LevenbergMarquardt(model, geodesic=True)),
}
JUDGED = ("line search", "trust region", "levenberg-marquardt")
SEEDS = st.integers(0, 50)


class Training(RuleBasedStateMachine):
    """One model and its optimizer, to which everything may happen that happens to them."""

    @initialize(name=st.sampled_from(sorted(OPTIMIZERS)))
    def begin(self, name):
        self.name = name
        self.make, self.optimize = OPTIMIZERS[name]
        self.model = self.make(0)
        self.optimizer = self.optimize(self.model)

    def batch(self, seed):
        dtype = next(self.model.parameters()).dtype
        return normal(ROWS, D_IN, seed=seed).to(dtype), normal(ROWS, D_OUT, seed=seed + 1000).to(dtype)

    def stepped(self, optimizer, seed):
        if self.name in JUDGED:
            return optimizer.step(*self.batch(seed))
        report = optimizer.backward(*self.batch(seed))
        optimizer.step()
        return report

    @rule(seed=SEEDS)
    def step(self, seed):
        inputs, targets = self.batch(seed)
        before = copy.deepcopy(self.model)
        report = self.stepped(self.optimizer, seed)
        if self.name in JUDGED:
            with torch.no_grad():
                loss = float(MSELoss()(self.model(inputs), targets))
            assert loss <= report.loss * (1 + 1e-5)
        elif report.exact and not self.optimizer.spring:
            # Of the change itself, through a model that has seen nothing of the step.
            at = dict(zip(self.model.parameters(), before.parameters(), strict=True))
            change = {at[p]: p.grad for p in self.model.parameters()}
            outputs, moved = jvp(before, inputs, change)
            wanted = outputs - targets
            tolerance = 3e-3 if wanted.dtype == torch.float32 else 3e-11
            assert float((moved - wanted).norm()) <= 3 * tolerance * float(wanted.norm())

    @rule(seed=SEEDS, where=st.sampled_from(["inputs", "targets"]))
    def fail(self, seed, where):
        inputs, targets = self.batch(seed)
        (inputs if where == "inputs" else targets)[0, 0] = torch.nan
        before = everything(self.model, self.optimizer)
        take = self.optimizer.step if self.name in JUDGED else self.optimizer.backward
        with pytest.raises(FloatingPointError, match=f"{where} hold NaN or infinity"):
            take(inputs, targets)
        assert everything(self.model, self.optimizer) == before

    @rule(seed=SEEDS, how=st.sampled_from(["state dicts", "deepcopy", "pickle"]))
    def go_on_elsewhere(self, seed, how):
        """Another model and optimizer take this one's place, and its next step to the bit."""
        if how == "state dicts":
            model = self.make(7).to(next(self.model.parameters()).dtype)
            optimizer = self.optimize(model)
            held = io.BytesIO()
            torch.save((self.model.state_dict(), self.optimizer.state_dict()), held)
            held.seek(0)
            of_model, of_optimizer = torch.load(held, weights_only=True)
            model.load_state_dict(of_model)
            optimizer.load_state_dict(of_optimizer)
        elif how == "deepcopy":
            model, optimizer = copy.deepcopy((self.model, self.optimizer))
        else:
            model, optimizer = pickle.loads(pickle.dumps((self.model, self.optimizer)))
        self.stepped(self.optimizer, seed)
        self.stepped(optimizer, seed)
        for p, q in zip(self.model.parameters(), model.parameters(), strict=True):
            assert torch.equal(p, q)
        self.model, self.optimizer = model, optimizer

    @rule(dtype=st.sampled_from([torch.float32, torch.float64]))
    def move(self, dtype):
        """A model may change its dtype in place; its optimizer's state then has to be made anew."""
        if next(self.model.parameters()).dtype != dtype:
            self.model.to(dtype)
            state = self.optimizer.state_dict()
            self.optimizer = self.optimize(self.model)
            self.optimizer.load_state_dict(state)

    @rule(rate=st.sampled_from([0.1, 0.5]))
    def schedule(self, rate):
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @invariant()
    def parameters_are_finite(self):
        assert all(bool(torch.isfinite(p).all()) for p in getattr(self, "model", nn.Module()).parameters())


# Weights may come to where no layer is surjective any more, which is said once.
TestTraining = pytest.mark.filterwarnings("ignore:no (affine layer|block) is surjective")(Training.TestCase)
TestTraining.settings = settings(
    max_examples=25, stateful_step_count=12, deadline=None, derandomize=True, phases=[Phase.generate]
)


@pytest.mark.parametrize("control", [TrustRegion(), LineSearch()], ids=["trust region", "line search"])
def test_inputs_that_only_the_jacobian_minds_are_refused_and_nothing_is_changed(control):
    """tanh of infinity is one: outputs and loss are finite, and no step is."""
    model = plain(0)
    optimizer = revgn.GaussNewton(model, MSELoss(), control=control)
    optimizer.step(normal(ROWS, D_IN), normal(ROWS, D_OUT))
    state, weights = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(model.state_dict())
    inputs = normal(ROWS, D_IN)
    inputs[0, 0] = torch.inf
    with pytest.raises(FloatingPointError, match=r"not finite|no step is finite|NaN or infinity"):
        optimizer.step(inputs, normal(ROWS, D_OUT))
    assert optimizer.state_dict()["param_groups"] == state["param_groups"]
    assert all(torch.equal(p, q) for p, q in zip(weights.values(), model.state_dict().values(), strict=True))
