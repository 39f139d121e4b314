"""RevConv and RevMixer: what they compute, from loops, what is trained, and what they refuse."""

import copy
import itertools
import re

import numpy as np
import pytest
import torch

import oracles
import revgn
from networks import ACTIVATIONS, normal

NETWORKS = {"conv": revgn.RevConv, "mixer": revgn.RevMixer}
EACH_NETWORK = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
SHAPES = {"square": ((2, 4, 4), 2), "oblong": ((1, 4, 8), 4), "pixels": ((4, 3, 2), 1), "one patch": ((3, 2, 2), 2)}
EACH_SHAPE = pytest.mark.parametrize(("shape", "patch_size"), SHAPES.values(), ids=SHAPES.keys())


def made(network, shape=(2, 4, 4), *, seed=0, **options):
    chosen = {"patch_size": 2, "num_blocks": 2, "hidden_features": 20, "activation": "tanh", "init_std": 0.3}
    generator = torch.Generator().manual_seed(seed)
    return network(shape, 3, generator=generator, **({"dtype": torch.float64} | chosen | options))


@EACH_NETWORK
@EACH_SHAPE
def test_the_first_layer_lays_patches_out_by_half_row_column_and_channel(network, shape, patch_size):
    _, height, width = shape
    images = normal(3, *shape)
    half = []
    for row, column in itertools.product(range(height // patch_size), range(width // patch_size)):
        top, left = row * patch_size, column * patch_size
        half.append(images[:, :, top : top + patch_size, left : left + patch_size].flatten(1).chunk(2, dim=1))
    expected = torch.cat([a for a, _ in half] + [b for _, b in half], dim=1)
    layer = made(network, shape, patch_size=patch_size).blocks[0]
    assert torch.equal(layer(images.flatten(1)), expected)


@EACH_NETWORK
@EACH_SHAPE
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"hidden_features": None}, {"first_activation": "sin"}])
def test_outputs_and_inverse_are_those_of_loops_over_rows_and_positions(network, shape, patch_size, options):
    model = made(network, shape, patch_size=patch_size, **options)
    inputs = normal(4, model.in_features)
    np.testing.assert_allclose(oracles.array(model(inputs)), oracles.outputs(model, inputs), rtol=1e-10, atol=1e-10)
    state = model.state(inputs)
    assert (state - model.lifted(inputs)).norm() > 0.1 * inputs.norm()
    torch.testing.assert_close(model.inverse(state), inputs, rtol=1e-12, atol=1e-12)


@EACH_NETWORK
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_for_every_activation(network, activation):
    model, inputs = made(network, activation=activation, first_activation=activation), normal(4, 32)
    np.testing.assert_allclose(oracles.array(model(inputs)), oracles.outputs(model, inputs), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_a_pixel_moves_nothing_beyond_the_windows_of_the_layers(kernel_size):
    model = made(revgn.RevConv, (2, 5, 9), patch_size=1, num_blocks=1, kernel_size=kernel_size)
    inputs, other = normal(1, 90), normal(1, 90)
    other.view(2, 5, 9)[:, 2, 0] += 1.0
    moved = (model.state(other) - model.state(inputs)).view(2, 5, 9, 1).abs().sum((0, 1, 3))
    reach = 2 * (kernel_size // 2)  # f and g are a window each
    assert all(moved[: reach + 1] > 0)
    assert not any(moved[reach + 1 :])


@EACH_NETWORK
def test_only_the_couplings_linear_layers_are_trainable(network):
    names = {name for name, _ in made(network).named_parameters()}
    assert names == {f"blocks.{i}.{half}.linear.{part}" for i in (1, 2) for half in "fg" for part in ("weight", "bias")}


def test_a_block_is_surjective_for_no_more_rows_than_its_features_have_positions_to_serve():
    conv, mixer = (made(network, (2, 2, 6), hidden_features=19).blocks[2] for network in NETWORKS.values())
    assert conv.max_rank == (19 + 1) // 3  # 3 patches of 4 channels in either half
    assert mixer.max_rank == (19 + 1) // 4  # f is used for each channel, g for each patch


@EACH_NETWORK
def test_the_same_seed_gives_the_same_network_and_so_does_a_copy(network):
    first, second, third = made(network), made(network), made(network, seed=1)
    inputs = normal(4, 32)
    assert torch.equal(first(inputs), second(inputs))
    assert torch.equal(first(inputs), copy.deepcopy(first)(inputs))
    assert not torch.equal(first(inputs), third(inputs))
    third.load_state_dict(first.state_dict())
    assert torch.equal(first(inputs), third(inputs))


@EACH_NETWORK
def test_networks_are_made_on_any_device(network):
    model = network((3, 32, 32), 10, patch_size=2, num_blocks=6, hidden_features=100_000, device="meta")
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
    assert model(torch.empty(5, 3072, device="meta")).shape == (5, 10)


BAD = [
    ({"patch_size": 3}, "patches of 3 x 3 pixels do not fill images of 4 x 4"),
    ({"patch_size": 0}, "patch_size, all at least 1, got (2, 4, 4) and 0"),
    (
        {"shape": (3, 4, 4), "patch_size": 1},
        "patches have 3 x 1 x 1 channels, an odd number that does not split in two",
    ),
    ({"shape": (4, 4)}, "expected image_shape=(channels, height, width)"),
    ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
    ({"hidden_features": 0}, "at least one input and one output"),
    ({"activation": "tanhh"}, "unknown activation 'tanhh'; did you mean 'tanh'?"),
    ({"init_std": -1.0}, "init_std must not be negative, got -1.0"),
]


@EACH_NETWORK
@pytest.mark.parametrize(("options", "message"), BAD)
def test_impossible_networks_are_refused(network, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        made(network, **options)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel_size=4: a window has a pixel in its middle"):
        made(revgn.RevConv, kernel_size=4)


@EACH_NETWORK
def test_images_that_are_not_flattened_are_refused(network):
    with pytest.raises(ValueError, match=re.escape("inputs of shape (5, 2, 4, 4); expected (n, 32): flatten each row")):
        made(network)(normal(5, 2, 4, 4))
