import pytest
import torch

from networks import normal, rev_mlp
from revgn.nn import ReversibleLayer


class Roll(ReversibleLayer):
    """A parameter-free layer: only `forward` and `inverse`."""

    def forward(self, state):
        return torch.sinh(state.roll(1, dims=-1))

    def inverse(self, state):
        return torch.asinh(state).roll(-1, dims=-1)


LAYERS = {"block": lambda: rev_mlp().blocks[1], "own": Roll}


@pytest.mark.parametrize("layer", LAYERS)
def test_inverse_undoes_forward(layer):
    layer, state = LAYERS[layer](), normal(5, 16)
    torch.testing.assert_close(layer.inverse(layer(state)), state, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("layer", LAYERS)
@torch.no_grad()
def test_linearize_and_unwind_walk_the_same_points(layer):
    layer, state, tangent = LAYERS[layer](), normal(5, 16), normal(5, 16, seed=1)
    outputs, forwards = layer.linearize(state)
    inputs, backwards = layer.unwind(outputs)
    torch.testing.assert_close(outputs, layer(state))
    torch.testing.assert_close(inputs, state, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(layer.pull_back(forwards, tangent), layer.pull_back(backwards, tangent))


@pytest.mark.parametrize("layer", LAYERS)
@torch.no_grad()
def test_pull_back_is_undone_by_the_forward_jvp(layer):
    layer, state, tangent = LAYERS[layer](), normal(5, 16), normal(5, 16, seed=1)
    _, point = layer.linearize(state)
    pulled = layer.pull_back(point, tangent)
    assert not torch.allclose(pulled, tangent, rtol=0.1)
    torch.testing.assert_close(torch.func.jvp(layer, (state,), (pulled,))[1], tangent)


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_layers_that_lack_a_direction_say_so(method):
    with pytest.raises(NotImplementedError, match=f"must implement {method}"):
        getattr(ReversibleLayer(), method)(normal(2, 4))
