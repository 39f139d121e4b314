"""The step against the Jacobian of torch.func: exact whenever the report says so, and only then."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.func import functional_call, jacrev

import oracles
import revgn
from networks import architectures, normal, rev_mlp
from revgn.losses import MSELoss
from revgn.nn import ReversibleLayer
from revgn.solvers import Cholesky, Eigh
from tables import LOSSES, SOLVERS, each


def moved_outputs(network, inputs, steps):
    """J Delta, with J from torch.func."""
    parameters = dict(network.named_parameters())
    jacobians = jacrev(lambda values: functional_call(network, values, (inputs,)))(parameters)
    return sum(jacobians[name].flatten(2) @ steps[name].flatten() for name in parameters)


def step_and_report(optimizer, inputs, targets):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no block is surjective")
        return optimizer.direction(inputs, targets), optimizer.backward(inputs, targets)


def error_of_step(network, loss, inputs, targets, **options):
    """||J Delta - r|| / ||r||, and the report."""
    steps, report = step_and_report(revgn.GaussNewton(network, loss, **options), inputs, targets)
    r = loss.direction(network(inputs), targets)
    return ((moved_outputs(network, inputs, steps) - r).norm() / r.norm()).item(), report


@given(architectures(), st.sampled_from(sorted(LOSSES)), st.sampled_from(["exact", "last", "uniform"]))
@settings(max_examples=60, deadline=None)
def test_a_step_that_is_reported_exact_moves_the_outputs_by_the_direction(architecture, loss, block_weights):
    # A cross-entropy of one class is zero, and so is its direction.
    assume(architecture["out_features"] >= LOSSES[loss].least_outputs)
    network, inputs = rev_mlp(**architecture), normal(12, architecture["in_features"])
    loss, targets = LOSSES[loss].drawn(12, architecture["out_features"])
    error, report = error_of_step(network, loss, inputs, targets, block_weights=block_weights)
    assume(report.exact)
    assert error <= 1e-10


@pytest.mark.parametrize("keep_features", [True, False])
@pytest.mark.parametrize("block_weights", ["exact", "last", "uniform", (0.0, 0.7, 0.3), (2.0, 0.0, -1.0)])
@each("case", SOLVERS, lambda case: case.exact and not case.same_as)
def test_every_solver_and_weighting_gives_an_exact_step(case, block_weights, keep_features):
    network, inputs, targets = rev_mlp(hidden_features=48), normal(20, 16), normal(20, 3, seed=5)
    options = {"solver": case.solver, "block_weights": block_weights, "keep_features": keep_features}
    error, report = error_of_step(network, MSELoss(), inputs, targets, **options)
    assert report.exact
    assert error <= 1e-10


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 2e-3), (torch.float64, 1e-10)])
def test_a_converted_network_takes_exact_steps(dtype, rounding):
    other = {torch.float32: torch.float64, torch.float64: torch.float32}[dtype]
    network = rev_mlp(in_features=9, hidden_features=48, dtype=other).to(dtype)
    error, report = error_of_step(network, MSELoss(), normal(20, 9, dtype=dtype), normal(20, 3, seed=5, dtype=dtype))
    assert report.exact
    assert error <= rounding


def repeated_rows():
    inputs = normal(20, 16)
    return torch.cat([inputs[:10], inputs[:10]])


NOT_SURJECTIVE = {
    "more rows than features": ({"hidden_features": 15}, normal(20, 16), {}),
    "as many features as rows less one, no bias": ({"hidden_features": 19, "bias": False}, normal(20, 16), {}),
    "no bottleneck": ({"hidden_features": None}, normal(20, 16), {}),
    "the same rows with other targets": ({}, repeated_rows(), {}),
    "a linear first block in use": ({"first_activation": "identity"}, normal(20, 16), {"block_weights": "uniform"}),
    "a linear network": ({"activation": "identity", "first_activation": "identity"}, normal(20, 16), {}),
    "singular values dropped": ({}, normal(20, 16), {"solver": Eigh(rtol=0.1)}),
    "heavy damping": ({}, normal(20, 16), {"solver": Cholesky(damping=1e-2)}),
    "too long a step": ({}, normal(20, 16), {"block_weights": "sum"}),
    "weights that sum to a half": ({}, normal(20, 16), {"block_weights": (0.5, 0.0, 0.0)}),
}


@pytest.mark.parametrize("case", NOT_SURJECTIVE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_that_is_not_exact_is_reported_so(case, dtype):
    network_options, inputs, options = NOT_SURJECTIVE[case]
    network, targets = rev_mlp(dtype=dtype, **network_options), normal(20, 3, seed=5, dtype=dtype)
    error, report = error_of_step(network, MSELoss(), inputs.to(dtype), targets, **options)
    assert not report.exact
    assert error > 1e-3


def test_a_linear_first_block_takes_no_part_in_an_exact_step():
    network, inputs = rev_mlp(first_activation="identity"), normal(20, 16)
    error, report = error_of_step(network, MSELoss(), inputs, normal(20, 3, seed=5))
    assert report.exact
    assert error <= 1e-10
    assert report.block_weights == (0.0, 0.5, 0.5)
    assert report.ranks == (None, (20, 20), (20, 20))


@pytest.mark.parametrize("keep_features", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden_features", [12, 40])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_each_block_takes_the_step_of_the_formula(index, hidden_features, bias, keep_features):
    """Surjective or not, Delta_f and Delta_g are those of theory.md, from dense Jacobians and pseudo-inverses."""
    network = rev_mlp(hidden_features=hidden_features, bias=bias)
    inputs, targets = normal(20, 16), normal(20, 3, seed=5)
    alone = [float(i == index) for i in range(3)]
    optimizer = revgn.GaussNewton(network, MSELoss(), block_weights=alone, keep_features=keep_features)
    steps = optimizer.direction(inputs, targets)
    r = oracles.outputs(network, inputs) - targets.numpy()
    for half, expected in zip("fg", oracles.block_step(network, inputs, index, r), strict=True):
        name = f"blocks.{index}.{half}.linear"
        step = oracles.array(steps[f"{name}.weight"]).T
        if bias:
            step = np.vstack([step, oracles.array(steps[f"{name}.bias"])])
        np.testing.assert_allclose(step, expected, rtol=1e-8, atol=1e-9)
    assert all(step.count_nonzero() == 0 for name, step in steps.items() if not name.startswith(f"blocks.{index}."))


class Mix(ReversibleLayer):
    """A parameter-free layer between blocks."""

    def forward(self, state):
        return torch.sinh(0.5 * state.roll(3, dims=-1))

    def inverse(self, state):
        return 2 * torch.asinh(state).roll(-3, dims=-1)


@pytest.mark.parametrize("keep_features", [True, False])
def test_tangents_pass_through_layers_of_ones_own(keep_features):
    source, inputs, targets = rev_mlp(), normal(20, 16), normal(20, 3, seed=5)
    blocks = [source.blocks[0], Mix(), source.blocks[1], Mix()]
    network = revgn.nn.ReversibleNetwork(blocks, in_features=16, out_features=3, state_features=16, dtype=torch.float64)
    error, report = error_of_step(network, MSELoss(), inputs, targets, keep_features=keep_features)
    assert report.exact
    assert error <= 1e-10
    assert report.block_weights == (0.5, 0.0, 0.5, 0.0)


def test_activations_of_ones_own_give_exact_steps():
    network = rev_mlp(activation=torch.nn.functional.mish, first_activation=torch.nn.ELU())
    error, report = error_of_step(network, MSELoss(), normal(20, 16), normal(20, 3, seed=5))
    assert report.exact
    assert error <= 1e-10
