"""Features at several positions of a half state, against loops over rows, positions and windows."""

import re

import numpy as np
import pytest
import torch
from torch.nn import functional

import oracles
from networks import normal
from revgn.nn import Coupling, Features, RandomFeatures, SharedFeatures, Tokens, Windows

LAYOUTS = {
    "windows": Windows(2, 3, 4),
    "windows of one pixel": Windows(3, 2, 3, kernel_size=1),
    "windows wider than the image": Windows(2, 2, 3, kernel_size=7),
    "windows of one channel": Windows(1, 5, 1),
    "tokens": Tokens(6, 4),
    "one token": Tokens(1, 5),
    "one channel": Tokens(5, 1),
}
EACH_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


class Quadratic(Features):
    """Features of one's own, in place: only `forward`, the derivative is left to autodiff."""

    def __init__(self, in_features):
        super().__init__(in_features, 2 * in_features)

    def forward(self, inputs):
        return torch.cat([inputs.sin_(), inputs**2], dim=-1)


FEATURES = {
    "random": lambda seen: RandomFeatures(seen, 7, activation="tanh", dtype=torch.float64),
    "random, linear": lambda seen: RandomFeatures(seen, 7, activation="identity", dtype=torch.float64),
    "no bottleneck": lambda seen: RandomFeatures(seen, activation="gelu", dtype=torch.float64),
    "own": Quadratic,
}
EACH_KIND = pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES.keys())


def coupled(features, layout, **options):
    shared = SharedFeatures(features(layout.seen), layout)
    return Coupling(shared, init_std=0.3, dtype=torch.float64, **options)


@EACH_LAYOUT
def test_positions_see_and_give_what_loops_over_them_say(layout):
    coupling = coupled(FEATURES["random"], layout)
    halves, rows = normal(5, coupling.features.in_features), normal(5 * layout.positions, layout.given)
    np.testing.assert_array_equal(layout.see(halves).numpy(), oracles.seen(layout, halves.numpy()))
    np.testing.assert_array_equal(layout.join(rows).numpy(), oracles.joined(coupling, rows.numpy()))
    assert torch.equal(layout.join(layout.split(halves)), halves)
    assert torch.equal(layout.split(layout.join(rows)), rows)


@EACH_LAYOUT
@pytest.mark.parametrize("bias", [True, False])
def test_a_coupling_gives_what_loops_over_positions_say(layout, bias):
    coupling = coupled(FEATURES["random"], layout, bias=bias)
    halves = normal(5, coupling.features.in_features)
    np.testing.assert_allclose(oracles.array(coupling(halves)), oracles.shift(coupling, halves.numpy()), 1e-12, 1e-15)


def test_windows_make_torchs_convolution():
    layout = Windows(3, 4, 5, kernel_size=3)
    coupling, halves = coupled(FEATURES["random"], layout), normal(6, 60)
    kernels = coupling.features.features.projection.T.reshape(7, 3, 3, 3)
    images = halves.view(6, 4, 5, 3).permute(0, 3, 1, 2)
    hidden = torch.tanh(functional.conv2d(images, kernels, padding="same"))
    out = functional.conv2d(hidden, coupling.linear.weight[:, :, None, None], coupling.linear.bias)
    torch.testing.assert_close(coupling(halves), out.permute(0, 2, 3, 1).flatten(1))


@EACH_LAYOUT
@EACH_KIND
@torch.no_grad()
@pytest.mark.parametrize("chunk_rows", [None, 1, 2, 9])
def test_points_know_the_shift_and_its_derivative_in_chunks_of_any_size(layout, features, chunk_rows):
    coupling = coupled(features, layout)
    halves, tangent = normal(5, coupling.features.in_features), normal(5, coupling.features.in_features, seed=1)
    kept = halves.clone()
    shift, derivative = torch.func.jvp(coupling, (halves,), (tangent,))
    point = coupling.linearize(halves, chunk_rows)
    torch.testing.assert_close(coupling.shift(point), shift)
    torch.testing.assert_close(coupling.jvp(point, tangent.clone()), derivative)
    assert point.map.rows == 5 * layout.positions
    assert max(rows.stop - rows.start for rows in point.map.slices) <= (chunk_rows or 5) * layout.positions
    assert torch.equal(halves, kept)


@EACH_LAYOUT
@EACH_KIND
def test_jvp_is_that_of_autograd(layout, features):
    shared = SharedFeatures(features(layout.seen), layout)
    halves, tangent = normal(5, shared.in_features), normal(5, shared.in_features, seed=1)
    expected = torch.autograd.functional.jvp(lambda z: shared(z.clone()), halves, tangent)[1]
    torch.testing.assert_close(shared.jvp(halves, tangent), expected)


@pytest.mark.parametrize("layout", [Windows(2, 3, 4), Tokens(6, 4)], ids=["windows", "tokens"])
@pytest.mark.parametrize(("hidden", "activation"), [(60, "identity"), (60, "tanh"), (5, "identity"), (5, "tanh")])
def test_max_rank_is_the_rank_that_features_of_many_rows_reach(layout, hidden, activation):
    features = RandomFeatures(layout.seen, hidden, activation=activation, dtype=torch.float64)
    coupling = Coupling(SharedFeatures(features, layout), dtype=torch.float64)
    at = coupling.linearize(3 * normal(40, 24))
    assert np.linalg.matrix_rank(oracles.array(at.map.dense())) == coupling.max_rank


def test_linear_features_are_known_as_a_product_of_narrow_matrices():
    layout = Windows(2, 3, 4)
    shared = SharedFeatures(FEATURES["random, linear"](layout.seen), layout)
    product = shared.product(normal(5, 24))
    torch.testing.assert_close(product.rows @ product.basis, shared(normal(5, 24)))


REFUSED = {
    "an even kernel": (lambda: Windows(2, 4, 4, kernel_size=2), "kernel_size=2: a window has a pixel in its middle"),
    "no kernel": (lambda: Windows(2, 4, 4, kernel_size=0), "kernel_size=0"),
    "no channels": (lambda: Windows(0, 4, 4), "channels, height and width must be at least 1, got Windows(channels=0"),
    "no tokens": (lambda: Tokens(0, 4), "tokens and channels must be at least 1, got Tokens(tokens=0"),
    "features of another width": (
        lambda: SharedFeatures(RandomFeatures(17), Windows(2, 4, 4)),
        "each position of Windows(channels=2, height=4, width=4, kernel_size=3) sees 18 entries, but the features take",
    ),
    "features that are shared already": (
        lambda: SharedFeatures(SharedFeatures(RandomFeatures(1), Windows(1, 2, 2, kernel_size=1)), Tokens(4, 3)),
        "the features take 4 at 4 position(s); expected features of 4 inputs at one position",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_layouts_are_refused(case):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
