"""Layers without parameters between blocks: their inverses, in either precision, and what they refuse."""

import re

import numpy as np
import pytest
import torch

from networks import normal
from revgn.nn import InvertibleLinear, Permutation

MATRIX = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0], [0.5, 0.0, 3.0]], dtype=torch.float64)


def orthogonal(features, dtype=torch.float64):
    return InvertibleLinear.orthogonal(features, generator=torch.Generator().manual_seed(0), dtype=dtype)


LAYERS = {
    "permutation": lambda: Permutation([3, 1, 0, 2, 5, 4, 11, 10, 9, 6, 7, 8]),
    "matrix by threes": lambda: InvertibleLinear(MATRIX),
    "orthogonal, all of the state": lambda: orthogonal(12),
    "orthogonal, by fours": lambda: orthogonal(4),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
@torch.no_grad()
def test_tangents_go_back_by_the_inverse_from_either_end(layer):
    layer, state, tangent = layer(), normal(5, 12), normal(5, 12, seed=1)
    outputs, forwards = layer.linearize(state)
    inputs, backwards = layer.unwind(outputs)
    torch.testing.assert_close(outputs, layer(state), rtol=0, atol=0)
    torch.testing.assert_close(inputs, state, rtol=1e-13, atol=1e-13)
    for point in (forwards, backwards):
        pulled = layer.pull_back(point, tangent)
        torch.testing.assert_close(torch.func.jvp(layer, (state,), (pulled,))[1], tangent, rtol=1e-13, atol=1e-13)
    assert not torch.allclose(pulled, tangent, rtol=0.1)


def test_a_permutation_takes_entries_in_order():
    state = torch.tensor([[10.0, 20.0, 30.0]])
    assert Permutation([2, 0, 1])(state).tolist() == [[30.0, 10.0, 20.0]]


def test_a_matrix_multiplies_group_by_group():
    state = normal(2, 6)
    for row, out in zip(state.numpy(), InvertibleLinear(MATRIX)(state).numpy(), strict=True):
        np.testing.assert_allclose(out[:3], row[:3] @ MATRIX.numpy())
        np.testing.assert_allclose(out[3:], row[3:] @ MATRIX.numpy())


def test_a_random_matrix_is_orthogonal_and_decided_by_the_generator():
    matrix = orthogonal(9).matrix
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(9, dtype=torch.float64), rtol=0, atol=1e-14)
    assert torch.equal(matrix, orthogonal(9).matrix)


def test_after_a_change_of_dtype_the_inverse_is_exact_in_the_new_one():
    layer, state = orthogonal(12, torch.float32).double(), normal(5, 12)
    torch.testing.assert_close(layer.inverse(layer(state)), state, rtol=1e-13, atol=1e-13)


def test_a_loaded_permutation_brings_its_inverse():
    layer, state = LAYERS["permutation"](), normal(5, 12)
    other = Permutation(range(12))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.inverse(layer(state)), state)


def test_nothing_of_them_is_trained():
    assert not any(list(layer().parameters()) for layer in LAYERS.values())


REFUSED = {
    "an entry twice": (lambda: Permutation([0, 1, 1]), "order of shape (3,) is no permutation"),
    "an entry too many": (lambda: Permutation([1, 2, 3]), "no permutation: expected each of 0 ... d-1 once"),
    "a matrix as order": (lambda: Permutation(torch.zeros(2, 2)), "order of shape (2, 2) is no permutation"),
    "no square": (lambda: InvertibleLinear(normal(3, 4)), "expected a square matrix of floats, got (3, 4)"),
    "integers": (lambda: InvertibleLinear(torch.eye(3).long()), "(3, 3) of torch.int64"),
    "singular": (lambda: InvertibleLinear(torch.ones(3, 3)), "the matrix is singular in torch.float32"),
    "not finite": (lambda: InvertibleLinear(torch.full((3, 3), torch.nan)), "the matrix is singular in torch.float32"),
    "another width": (
        lambda: InvertibleLinear(MATRIX)(normal(2, 8)),
        "a state of width 8 does not split in groups of 3; use a matrix whose size divides it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_invertible_is_refused(case):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
