import copy
import io
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import oracles
import revgn
from networks import ACTIVATIONS, architectures, normal, rev_mlp
from revgn.nn import Coupling, RandomFeatures, ReversibleBlock, ReversibleNetwork


@given(architectures())
@settings(max_examples=60, deadline=None)
def test_outputs_and_inverse_for_any_architecture(architecture):
    network = rev_mlp(**architecture)
    inputs = normal(7, architecture["in_features"])
    np.testing.assert_allclose(oracles.array(network(inputs)), oracles.outputs(network, inputs), rtol=1e-9, atol=1e-9)
    state = network.state(inputs)
    torch.testing.assert_close(network.inverse(state), inputs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_for_every_activation(activation):
    network = rev_mlp(activation=activation, first_activation=activation)
    inputs = normal(7, 16)
    np.testing.assert_allclose(oracles.array(network(inputs)), oracles.outputs(network, inputs), rtol=1e-10)


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 1e-5), (torch.float64, 1e-14)])
def test_inverse_is_accurate_to_rounding_at_64_blocks(dtype, rounding):
    network = rev_mlp(num_blocks=64, hidden_features=256, activation="relu", init_std=0.05, dtype=dtype)
    inputs = normal(32, 16, dtype=dtype)
    state = network.state(inputs)
    assert (state - inputs).norm() > inputs.norm()  # the network does something
    assert (network.inverse(state) - inputs).norm() <= rounding * inputs.norm()


def test_gradients_are_those_of_the_formula():
    network = rev_mlp(num_blocks=2)
    j = oracles.jacobian(network, normal(4, 16))
    weight = network.blocks[0].f.linear.weight
    step = 1e-6
    before = oracles.outputs(network, normal(4, 16))
    with torch.no_grad():
        weight[1, 2] += step
    difference = (oracles.outputs(network, normal(4, 16)) - before).ravel() / step
    np.testing.assert_allclose(j[:, 1 * weight.shape[1] + 2], difference, rtol=1e-4, atol=1e-6)


def test_only_the_couplings_linear_layers_are_trainable():
    names = {name for name, _ in rev_mlp(num_blocks=2).named_parameters()}
    assert names == {f"blocks.{i}.{half}.linear.{part}" for i in (0, 1) for half in "fg" for part in ("weight", "bias")}


def test_weights_start_small_and_readout_is_orthonormal():
    network = revgn.RevMLP(100, 10, num_blocks=2, hidden_features=500, generator=torch.Generator().manual_seed(0))
    assert network.blocks[1].g.linear.weight.std().item() == pytest.approx(1e-3, rel=0.02)
    torch.testing.assert_close(network.readout.T @ network.readout, torch.eye(10), rtol=0, atol=1e-6)
    assert network.blocks[0].f.features.activation.name == "identity"
    assert network.blocks[1].f.features.activation.name == "relu"


@pytest.mark.parametrize(
    ("in_features", "out_features", "width"), [(7, 3, 8), (1, 1, 2), (8, 3, 8), (3, 11, 12), (784, 10, 784)]
)
def test_state_is_the_next_even_width_and_the_lift_is_injective(in_features, out_features, width):
    network = revgn.RevMLP(in_features, out_features, num_blocks=1, hidden_features=4)
    assert network.state_features == width
    assert (network.lift is None) == (in_features == width)
    if network.lift is not None:
        assert torch.linalg.matrix_rank(network.lift) == in_features


def test_conversion_to_double_keeps_the_network_invertible_to_rounding():
    network = rev_mlp(in_features=5, dtype=torch.float32).double()
    inputs = normal(6, 5)
    torch.testing.assert_close(network.inverse(network.state(inputs)), inputs, rtol=1e-12, atol=1e-12)


def test_the_same_seed_gives_the_same_network():
    first, second = (revgn.RevMLP(6, 2, num_blocks=2, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_copies_and_saved_networks_are_the_same_function():
    network, inputs = rev_mlp(in_features=7, activation="gelu"), normal(4, 7)
    stream = io.BytesIO()
    torch.save(network, stream)
    stream.seek(0)
    other = rev_mlp(in_features=7, activation="gelu", seed=1)
    assert not torch.equal(other(inputs), network(inputs))
    other.load_state_dict(network.state_dict())
    for same in (copy.deepcopy(network), torch.load(stream, weights_only=False), other):
        assert torch.equal(same(inputs), network(inputs))


def test_the_147_million_parameter_network_of_the_paper_has_that_many():
    network = revgn.RevMLP(3072, 10, num_blocks=6, hidden_features=8000, device="meta")
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(147e6, rel=0.01)


BAD_NETWORKS = [
    ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
    ({"state_features": 17}, "state_features must be even, got 17"),
    ({"state_features": 14}, "state_features=14 cannot carry 16 inputs and 3 outputs; use at least 16"),
    ({"in_features": 0}, "a network needs inputs and outputs, got in_features=0"),
    ({"init_std": -1.0}, "init_std must not be negative, got -1.0"),
    ({"hidden_features": 0}, "at least one input and one output"),
    ({"activation": "tanhh"}, "unknown activation 'tanhh'; did you mean 'tanh'?"),
]


@pytest.mark.parametrize(("options", "message"), BAD_NETWORKS)
def test_impossible_networks_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        rev_mlp(**options)


def test_a_network_of_no_blocks_is_refused():
    with pytest.raises(ValueError, match="at least one block"):
        ReversibleNetwork([], in_features=4, out_features=1, state_features=4)


BAD_INPUTS = [
    (normal(5, 15), ValueError, "inputs of shape (5, 15); expected (n, 16)"),
    (normal(5, 4, 4), ValueError, "expected (n, 16): flatten each row"),
    (normal(16), ValueError, "inputs of shape (16,); expected (n, 16)"),
    (normal(5, 16).float(), TypeError, "inputs of torch.float32, but the network is torch.float64; convert one"),
    (torch.ones(5, 16, dtype=torch.uint8), TypeError, "inputs of torch.uint8, but the network is torch.float64"),
    (torch.ones(5, 16, dtype=torch.float64, device="meta"), ValueError, "inputs on meta, but the network is on cpu"),
]


@pytest.mark.parametrize(("inputs", "error", "message"), BAD_INPUTS)
def test_bad_inputs_are_refused(inputs, error, message):
    with pytest.raises(error, match=re.escape(message)):
        rev_mlp()(inputs)


def test_bad_states_are_refused():
    with pytest.raises(ValueError, match=re.escape("state of shape (5, 3); expected (n, 16)")):
        rev_mlp().inverse(normal(5, 3))


def test_networks_of_ones_own_blocks():
    def coupling(width):
        return Coupling(RandomFeatures(4, width, activation="sin", dtype=torch.float64), dtype=torch.float64)

    blocks = [ReversibleBlock(coupling(9), coupling(5)) for _ in range(2)]
    network = ReversibleNetwork(blocks, in_features=8, out_features=2, state_features=8, dtype=torch.float64)
    inputs = normal(3, 8)
    np.testing.assert_allclose(oracles.array(network(inputs)), oracles.outputs(network, inputs), rtol=1e-12)
    with pytest.raises(TypeError, match=r"block Linear is no revgn\.nn\.ReversibleLayer"):
        ReversibleNetwork([torch.nn.Linear(8, 8)], in_features=8, out_features=2, state_features=8)
