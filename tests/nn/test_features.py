import numpy as np
import pytest
import torch

from networks import ACTIVATIONS, normal
from revgn.nn import Features, RandomFeatures


class Quadratic(Features):
    """A user's own features: only `forward`, the derivative is left to autodiff."""

    def __init__(self, in_features):
        super().__init__(in_features, 2 * in_features)

    def forward(self, inputs):
        return torch.cat([inputs, inputs**2], dim=-1)


@pytest.mark.parametrize("hidden", [None, 1, 30])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, torch.nn.functional.mish])
def test_jvp_and_linearize_agree_with_autograd(activation, hidden):
    features = RandomFeatures(6, hidden, activation=activation, dtype=torch.float64)
    z, tangent = normal(9, 6), normal(9, 6, seed=1)
    expected_value, expected = torch.autograd.functional.jvp(features, z, tangent)
    value, jvp = features.linearize(z)
    torch.testing.assert_close(value, expected_value)
    torch.testing.assert_close(jvp(tangent), expected)
    torch.testing.assert_close(features.jvp(z, tangent), expected)


def test_features_of_ones_own_need_only_forward():
    features, z, tangent = Quadratic(4), normal(5, 4), normal(5, 4, seed=1)
    expected = torch.cat([tangent, 2 * z * tangent], dim=-1)
    torch.testing.assert_close(features.linearize(z)[1](tangent), expected)


def test_features_without_forward_say_what_to_implement():
    with pytest.raises(NotImplementedError, match="Features must implement forward"):
        Features(3, 4)(normal(2, 3))


@pytest.mark.parametrize("hidden", [None, 5, 50])
@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_max_rank_bounds_the_rank_that_features_reach(activation, hidden):
    features = RandomFeatures(8, hidden, activation=activation, dtype=torch.float64)
    rank = np.linalg.matrix_rank(features(normal(100, 8) * 3).numpy())
    assert rank == features.max_rank


def test_projection_is_scaled_by_the_root_of_its_width():
    projection = RandomFeatures(200, 400).projection
    assert projection.shape == (200, 400)
    assert projection.std().item() == pytest.approx(400**-0.5, rel=0.02)


def test_generator_decides_the_projection():
    first, second, third = (
        RandomFeatures(4, 9, generator=torch.Generator().manual_seed(seed)).projection for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize(("in_features", "hidden"), [(0, 3), (3, 0), (-1, None)])
def test_features_without_inputs_or_outputs_are_refused(in_features, hidden):
    with pytest.raises(ValueError, match="at least one input and one output"):
        RandomFeatures(in_features, hidden)
