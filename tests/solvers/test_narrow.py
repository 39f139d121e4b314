"""Features that are linear in fewer inputs than there are rows: recognised, and solved at that width."""

import numpy as np
import pytest
import torch

from memory import PeakMemory
from networks import normal
from revgn.linear import Features
from revgn.nn import RandomFeatures
from revgn.solvers import SVD, Eigh
from tables import SOLVERS, each

PSEUDO_INVERSE = each("case", SOLVERS, lambda case: case.pseudo_inverse)


def linear_features(n, k, h, bias, dtype=torch.float64):
    """Features of a layer without activation, as a matrix, and as the map that knows them for a product."""
    generator = torch.Generator().manual_seed(0)
    features = RandomFeatures(k, h, activation="identity", generator=generator, dtype=dtype)
    z = normal(n, k).to(dtype)
    dense, _ = features.linearize(z)
    return dense, Features.of(dense, bias=bias, product=features.product(z))


@PSEUDO_INVERSE
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("n", "k", "h"), [(40, 9, 70), (40, 9, 20), (40, 39, 70), (40, 45, 70), (40, 9, 8)])
def test_factored_features_get_the_solution_of_the_dense_ones(case, n, k, h, bias):
    features, map = linear_features(n, k, h, bias)
    target = normal(n, 6, seed=1)
    solution = case.solver.factor(map).solve(target)
    dense = np.hstack([features.numpy(), np.ones((n, 1))]) if bias else features.numpy()
    expected = np.linalg.pinv(dense, rcond=1e-11) @ target.numpy()
    ours = solution.delta.numpy() if not bias else np.vstack([solution.delta.numpy(), solution.bias.numpy()])
    assert np.linalg.norm(ours - expected) <= 1e-8 * np.linalg.norm(expected)
    left = target.numpy() - dense @ ours
    assert solution.defect == pytest.approx(np.linalg.norm(left) / np.linalg.norm(target.numpy()), rel=1e-6, abs=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rtol", [0.5, 0.2])
def test_truncation_drops_the_same_directions(rtol, dtype):
    features, map = linear_features(60, 30, 100, True, dtype)
    target = normal(60, 6, seed=1).to(dtype)
    narrow = Eigh(rtol).factor(map).solve(target)
    dense = SVD(rtol)(features, target, bias=True)
    assert narrow.rank == dense.rank < 31
    torch.testing.assert_close(narrow.delta, dense.delta, rtol=1e-4, atol=1e-4 * float(dense.delta.abs().max()))


def test_nothing_of_the_size_of_a_gram_matrix_of_the_rows_is_made():
    n, k, h = 600, 20, 2000
    (_, map), target = linear_features(n, k, h, True), normal(n, 4, seed=1)
    with PeakMemory() as memory:
        Eigh(1e-2).factor(map).solve(target)
    assert max(memory.sizes) < 8 * n * n / 4


@PSEUDO_INVERSE
@pytest.mark.parametrize("bias", [False, True])
def test_damping_is_relative_to_the_same_gram_matrix(case, bias):
    features, map = linear_features(40, 9, 70, bias)
    target = normal(40, 6, seed=1)
    expected = SVD().factor(Features.of(features, bias=bias)).solve(target, 0.1)
    torch.testing.assert_close(case.solver.factor(map).solve(target, 0.1).delta, expected.delta, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("change", ["copy_", "load_state_dict"])
def test_a_projection_that_was_changed_in_place_is_factored_anew(change):
    first, second = (
        RandomFeatures(9, 70, activation="identity", generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        for seed in (0, 1)
    )
    z, target = normal(40, 9), normal(40, 6, seed=1)

    def solved():
        features = first.linearize(z)[0]
        return Eigh().factor(Features.of(features, product=first.product(z))).solve(target)

    before = solved()
    if change == "copy_":
        first.projection.copy_(second.projection)
    else:
        first.load_state_dict(second.state_dict())
    after = solved()
    expected = SVD()(second.linearize(z)[0], target)
    torch.testing.assert_close(after.delta, expected.delta, rtol=1e-8, atol=1e-10)
    assert not torch.allclose(before.delta, after.delta, rtol=0.1)
