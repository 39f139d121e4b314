"""The linear map of a layer, beside the matrix that it stands for."""

import pytest
import torch

from networks import normal
from revgn.linear import Features
from revgn.linear.map import LinearMap


@pytest.mark.parametrize("bias", [False, True])
def test_a_symmetric_matrix_times_a_vector_is_that_of_the_stack(bias):
    map = Features.of(normal(7, 4), bias=bias)
    root = normal(map.columns, map.columns, seed=1)
    matrix, x = root @ root.mT, map.adjoint(normal(7, 3, seed=2))
    found = map.transformed(matrix, x)
    torch.testing.assert_close(map.stack(found), matrix @ map.stack(x))
    torch.testing.assert_close(map.stack(found), map.stack(LinearMap.transformed(map, matrix, x)))
    assert found[0].mT.is_contiguous()  # as a layer's weight lies in memory
