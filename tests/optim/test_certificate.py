"""Whether J Delta = r is measured on the model's own forward pass: a step that is told exact is exact."""

import copy
import math
import re
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.func import functional_call, jvp
from torch.nn.utils import parametrizations, prune

import oracles
import revgn
import revgn_lab.data
from networks import ACTIVATIONS, normal, rev_mlp
from revgn.losses import MSELoss
from revgn.nn import Coupling, Features, ReversibleBlock, ReversibleNetwork
from revgn.solvers import CG, Cholesky
from tables import RIGHT_INVERSES, each

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-11}
EVERY_RIGHT_INVERSE = each("case", RIGHT_INVERSES)
QUICK = [case for case in RIGHT_INVERSES.values() if not case.slow]
EACH_STEP_ONCE = each("case", RIGHT_INVERSES, lambda case: case.same_as is None)
INPUTS, TARGETS = normal(20, 16), normal(20, 3, seed=5)


def left_over(network, inputs, r, plain=None):
    """||J Delta - r|| / ||r|| of what stands in `.grad`, in double precision, on all rows.

    Args:
        network: whose `.grad` it is.
        inputs: all rows.
        r: the direction, (n, d_out).
        plain: the same function with the same parameter names, where the network's own cannot be differentiated.
    """
    wide = copy.deepcopy(network if plain is None else plain).double()
    values = {name: p.detach() for name, p in wide.named_parameters()}
    step = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in network.named_parameters()}
    _, moved = jvp(
        lambda v: functional_call(wide, v, (inputs.double(),)), (values,), ({n: s.double() for n, s in step.items()},)
    )
    return float((moved - r.double()).norm() / r.double().norm())


def quietly(optimizer, inputs, targets):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no block is surjective|no affine layer is surjective", UserWarning)
        return optimizer.backward(inputs, targets)


# In place, and the same function out of place.
IN_PLACE = {
    "silu": (nn.SiLU(inplace=True), nn.SiLU()),
    "elu": (nn.ELU(inplace=True), nn.ELU()),
    "tanh_": (torch.tanh_, torch.tanh),
    "relu_": (torch.relu_, torch.relu),
}


@EACH_STEP_ONCE
@pytest.mark.parametrize("hidden_features", [None, 50])
@pytest.mark.parametrize("activation", IN_PLACE)
def test_an_activation_in_place_is_trained_as_the_same_out_of_place(activation, hidden_features, case):
    rows = 6 if hidden_features is None else 20  # without a bottleneck features are 8 wide
    inputs, targets = INPUTS[:rows], TARGETS[:rows]
    network, twin = (
        rev_mlp(hidden_features=hidden_features, activation=act, first_activation=act) for act in IN_PLACE[activation]
    )
    kept = inputs.clone()
    torch.testing.assert_close(network(inputs), twin(inputs), rtol=0, atol=0)
    reports = [
        quietly(revgn.GaussNewton(each, MSELoss(), right_inverse=case.right_inverse), inputs, targets)
        for each in (network, twin)
    ]
    assert reports[0].exact == reports[1].exact
    if reports[0].exact:
        assert left_over(network, inputs, reports[0].outputs - targets, twin) <= 1e-10
    for mine, other in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-6, atol=1e-9)
    assert torch.equal(inputs, kept)


@EVERY_RIGHT_INVERSE
@pytest.mark.parametrize("rows", [20, 200])
def test_a_random_network_is_refused(rows, case):
    network = rev_mlp(activation=lambda z: torch.tanh(z + 0.1 * torch.randn_like(z)))
    optimizer = revgn.GaussNewton(network, MSELoss(), right_inverse=case.right_inverse, solver=None)
    with pytest.raises(ValueError, match=r"random|differ|other outputs"):
        quietly(optimizer, normal(rows, 16), normal(rows, 3, seed=5))
    assert all(p.grad is None for p in network.parameters())


@each("case", RIGHT_INVERSES, lambda case: not case.slow)
@pytest.mark.parametrize("activation", ["tanh", "relu", "sin"])
def test_large_weights_are_never_told_exact_where_they_are_not(activation, case):
    """Targets and tangents grow by orders of magnitude from block to block, and rounding with them."""
    network = rev_mlp(num_blocks=8, activation=activation, init_std=1.0, dtype=torch.float32)
    inputs, targets = INPUTS.float(), TARGETS.float()
    try:
        report = quietly(revgn.GaussNewton(network, MSELoss(), right_inverse=case.right_inverse), inputs, targets)
    except FloatingPointError:
        return
    error = left_over(network, inputs, report.outputs - targets)
    assert error <= 3e-3 or not report.exact
    assert report.exact == (report.defect <= 1e-3)


def test_training_on_digits_to_the_end_is_never_told_exact_where_it_is_not():
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    digits = revgn_lab.data.load("digits", rows=256)
    targets = nn.functional.one_hot(digits.targets, 10).float()
    network = revgn.RevMLP(64, 10, num_blocks=2, hidden_features=400, generator=torch.Generator().manual_seed(1))
    optimizer = revgn.GaussNewton(network, MSELoss())
    for _ in range(7):
        try:
            report = quietly(optimizer, digits.inputs, targets)
        except FloatingPointError:
            break
        if report.exact:
            assert left_over(network, digits.inputs, report.outputs - targets) <= 3e-3
        optimizer.step()


class Own(nn.Module):
    """A user's activation that is not elementwise."""

    def forward(self, z):
        return z.softmax(-1) * z


@st.composite
def problems(draw):
    """Options of RevMLP with weights from nothing to far too large, and of the step."""
    activations = st.sampled_from([*ACTIVATIONS, *IN_PLACE, "own"])
    return {
        "in_features": draw(st.integers(1, 12)),
        "out_features": draw(st.integers(1, 5)),
        "num_blocks": draw(st.integers(1, 8)),
        "hidden_features": draw(st.sampled_from([None, 16, 48])),
        "state_features": draw(st.sampled_from([None, 16, 24])),
        "activation": draw(activations),
        "first_activation": draw(activations),
        "bias": draw(st.booleans()),
        "init_std": 10.0 ** draw(st.floats(-3, 2)),
        "seed": draw(st.integers(0, 1000)),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64])),
    }


def activation_of(name, *, in_place):
    if name == "own":
        return Own()
    return IN_PLACE[name][0 if in_place else 1] if name in IN_PLACE else name


@given(problems(), st.sampled_from(QUICK), st.sampled_from([12, 70]))
@settings(max_examples=120, deadline=None, derandomize=True)
def test_a_step_that_is_reported_exact_is_exact_on_all_rows(options, case, rows):
    names = ("activation", "first_activation")
    network, twin = (
        rev_mlp(**options | {name: activation_of(options[name], in_place=in_place) for name in names})
        for in_place in (True, False)
    )
    dtype = options["dtype"]
    inputs = normal(rows, options["in_features"], dtype=dtype)
    targets = normal(rows, options["out_features"], seed=5, dtype=dtype)
    optimizer = revgn.GaussNewton(network, MSELoss(), right_inverse=case.right_inverse)
    try:
        report = quietly(optimizer, inputs, targets)
    except FloatingPointError:  # the outputs or the step overflow
        return
    assert math.isfinite(report.defect)
    if report.exact:
        assert left_over(network, inputs, report.outputs - targets, twin) <= 3 * TOLERANCE[dtype]


class TestParametersThatAreNoPlainWeights:
    @staticmethod
    def refused(network, message):
        with pytest.raises(ValueError, match=message):
            revgn.GaussNewton(network, MSELoss())
        # What is refused can be trained all the same.
        optimizer = revgn.GaussNewton(network, MSELoss(), right_inverse="moore-penrose")
        step, report = oracles.flat(network, optimizer.direction(INPUTS, TARGETS)), optimizer.backward(INPUTS, TARGETS)
        r = (report.outputs - TARGETS).numpy().ravel()
        assert report.exact
        assert np.linalg.norm(oracles.jacobian(network, INPUTS) @ step - r) <= 1e-10 * np.linalg.norm(r)

    def test_weight_norm(self):
        network = rev_mlp()
        parametrizations.weight_norm(network.blocks[1].f.linear)
        self.refused(network, r"blocks\.1\.f\.linear\.parametrizations.*moore-penrose")

    def test_pruning(self):
        network = rev_mlp()
        prune.random_unstructured(network.blocks[1].g.linear, "weight", amount=0.3)
        self.refused(network, r"blocks\.1\.g\.linear\.weight_orig.*moore-penrose")

    def test_a_weight_that_two_couplings_share(self):
        network = rev_mlp()
        network.blocks[2].f.linear.weight = network.blocks[1].f.linear.weight
        self.refused(network, r"blocks\.1\.f\.linear\.weight is the weight of several half-couplings.*moore-penrose")

    @pytest.mark.parametrize(
        "change", [parametrizations.weight_norm, lambda m: prune.l1_unstructured(m, "weight", 0.3)]
    )
    def test_changed_after_the_optimizer_was_made(self, change):
        network = rev_mlp()
        optimizer = revgn.GaussNewton(network, MSELoss())
        change(network.blocks[1].f.linear)
        with pytest.raises(ValueError, match=r"moore-penrose|not the model's"):
            optimizer.backward(INPUTS, TARGETS)

    def test_a_bias_taken_out(self):
        network = rev_mlp()
        for block in network.blocks:
            block.g.linear.bias = None
        report = revgn.GaussNewton(network, MSELoss()).backward(INPUTS, TARGETS)
        assert report.exact
        assert left_over(network, INPUTS, report.outputs - TARGETS) <= 1e-10

    def test_a_frozen_bias_leaves_its_block_out(self):
        network = rev_mlp()
        network.blocks[1].f.linear.bias.requires_grad_(False)
        report = revgn.GaussNewton(network, MSELoss()).backward(INPUTS, TARGETS)
        assert report.exact
        assert report.block_weights == (0.5, 0.0, 0.5)
        assert left_over(network, INPUTS, report.outputs - TARGETS) <= 1e-10
        assert network.blocks[1].f.linear.bias.grad is None
        assert network.blocks[1].f.linear.weight.grad.count_nonzero() == 0

    def test_frozen_layers_inside_of_features(self):
        class Frozen(Features):
            def __init__(self):
                super().__init__(8, 60)
                self.inner = nn.Linear(8, 60, dtype=torch.float64).requires_grad_(False)

            def forward(self, inputs):
                return torch.tanh(self.inner(inputs))

        torch.manual_seed(0)
        block = ReversibleBlock(*(Coupling(Frozen(), dtype=torch.float64) for _ in range(2)))
        network = ReversibleNetwork([block], in_features=16, out_features=3, state_features=16, dtype=torch.float64)
        report = revgn.GaussNewton(network, MSELoss()).backward(INPUTS, TARGETS)
        assert report.exact
        assert left_over(network, INPUTS, report.outputs - TARGETS) <= 1e-10


class TestParametersThatAreNotTheModels:
    @EVERY_RIGHT_INVERSE
    def test_parameters_of_another_module_are_told(self, case):
        network = rev_mlp()
        with pytest.raises(ValueError, match=r"not the model's|no parameter of this optimizer|no block"):
            revgn.GaussNewton(
                network, MSELoss(), right_inverse=case.right_inverse, params=copy.deepcopy(network).parameters()
            ).backward(INPUTS, TARGETS)

    @EVERY_RIGHT_INVERSE
    def test_parameters_that_were_replaced_are_told(self, case):
        network = rev_mlp()
        optimizer = revgn.GaussNewton(network, MSELoss(), right_inverse=case.right_inverse)
        network.load_state_dict(copy.deepcopy(network.state_dict()), assign=True)
        message = re.escape("are not the model's: they belong to another module (a copy?), or load_state_dict(assign=")
        with pytest.raises(ValueError, match=message):
            optimizer.backward(INPUTS, TARGETS)


GROUPS = {
    "biases stay": lambda name: 0.0 if "bias" in name else 1e-4,
    "weights stay": lambda name: 1e-4 if "bias" in name else 0.0,
    "g stays": lambda name: 0.0 if ".g." in name else 1e-4,
    "the last block stays": lambda name: 0.0 if name.startswith("blocks.2") else 1e-4,
    "all differ": lambda name: 1e-4 * (1 + sum(map(ord, name)) % 7),
}


@EACH_STEP_ONCE
@pytest.mark.parametrize("rows", [20, 100])
@pytest.mark.parametrize("rate", GROUPS)
def test_the_predicted_loss_is_that_of_the_groups_own_rates(rate, rows, case):
    network = rev_mlp(hidden_features=120)
    inputs, targets = normal(rows, 16), normal(rows, 3, seed=5)
    groups = [{"params": [p], "lr": GROUPS[rate](name)} for name, p in network.named_parameters()]
    optimizer = revgn.GaussNewton(network, MSELoss(), params=groups, right_inverse=case.right_inverse)
    report = optimizer.backward(inputs, targets)
    optimizer.step()
    reached = MSELoss()(network(inputs), targets).item()
    assert report.predicted_loss - report.loss == pytest.approx(reached - report.loss, rel=0.02)


def test_the_warning_does_not_blame_ranks_that_were_not_measured():
    network = rev_mlp(hidden_features=200)
    optimizer = revgn.GaussNewton(network, MSELoss(), solver=CG(max_iterations=3))
    with pytest.warns(UserWarning, match=r"on this batch: of 64 rows the best block leaves \de-"):
        report = optimizer.backward(normal(64, 16), normal(64, 3, seed=5))
    assert not report.exact
    assert report.ranks == ((None, None),) * 3


@EVERY_RIGHT_INVERSE
def test_ranks_of_repeated_rows_are_those_of_the_independent_ones(case):
    inputs, targets = INPUTS[:1].repeat(20, 1), TARGETS[:1].repeat(20, 1)
    report = quietly(
        revgn.GaussNewton(rev_mlp(), MSELoss(), right_inverse=case.right_inverse, solver=Cholesky()), inputs, targets
    )
    ranks = [rank for group in report.ranks if group is not None for rank in group]
    assert set(ranks) == ({3} if case.shortest else {1})
