"""A map is factored once; the factor answers any number of right-hand sides, with any damping."""

import logging
import re

import numpy as np
import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from networks import normal
from revgn.linear import Features
from tables import SOLVERS, each

OF_ANY_SHAPE = each("case", SOLVERS, lambda case: case.any_shape)
PSEUDO_INVERSE = each("case", SOLVERS, lambda case: case.pseudo_inverse)
SHAPES = [(20, 50), (50, 20), (20, 20)]


def ridge(dense, target, damping):
    """(A^T A + lambda I)^-1 A^T u, lambda relative to the mean diagonal of the smaller Gram matrix."""
    if not damping:
        return np.linalg.pinv(dense) @ target
    level = damping * (dense**2).sum() / min(dense.shape)
    return np.linalg.solve(dense.T @ dense + level * np.eye(dense.shape[1]), dense.T @ target)


def stacked(solution):
    delta = solution.delta.double().numpy()
    return delta if solution.bias is None else np.vstack([delta, solution.bias.double().numpy()])


def dense_of(features, bias):
    dense = features.double().numpy()
    return np.hstack([dense, np.ones((len(dense), 1))]) if bias else dense


@PSEUDO_INVERSE
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_one_factor_answers_every_target_at_every_damping(case, shape, bias):
    features = normal(*shape)
    factor = case.solver.factor(Features.of(features, bias=bias))
    for seed, columns in ((1, 3), (2, 12)):
        target = normal(shape[0], columns, seed=seed)
        for damping in (0, 0.1, 10.0, 0.0):
            expected = ridge(dense_of(features, bias), target.numpy(), damping)
            error = np.linalg.norm(stacked(factor.solve(target, damping)) - expected)
            assert error <= 1e-8 * np.linalg.norm(expected)


@each("case", SOLVERS, lambda case: case.damping)
@pytest.mark.parametrize("shape", SHAPES)
def test_without_a_damping_of_its_own_a_solve_takes_the_solvers(case, shape):
    features, target = normal(*shape), normal(shape[0], 4, seed=1)
    factor = case.solver.factor(Features.of(features))
    for damping, expected in ((None, case.damping), (0.0, 0.0), (2.0, 2.0), (None, case.damping)):
        wanted = ridge(features.numpy(), target.numpy(), expected)
        np.testing.assert_allclose(stacked(factor.solve(target, damping)), wanted, rtol=1e-7, atol=1e-8)


@OF_ANY_SHAPE
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_called_on_features_a_solver_factors_and_solves(case, shape, bias):
    features, target = normal(*shape), normal(shape[0], 4, seed=1)
    called = case.solver(features, target, bias=bias)
    solved = case.solver.factor(Features.of(features, bias=bias)).solve(target)
    np.testing.assert_array_equal(stacked(called), stacked(solved))


@each("case", SOLVERS, lambda case: case.by_gram)
@pytest.mark.parametrize("shape", SHAPES)
def test_another_damping_or_target_forms_no_new_gram_matrix(case, shape, monkeypatch):
    formed = []
    for name in ("gram", "column_gram"):
        method = getattr(Features, name)
        monkeypatch.setattr(Features, name, lambda *args, _method=method: formed.append(1) or _method(*args))
    factor = case.solver.factor(Features.of(normal(*shape)))
    for damping in (0.0, 0.1, 10.0, 1e-3, 0.1):
        factor.solve(normal(shape[0], 3, seed=1), damping)
        factor.solve(normal(shape[0], 2, seed=2), damping)
    assert len(formed) == 1


@each("case", SOLVERS)
def test_a_damping_that_is_none_is_refused(case):
    factor = case.solver.factor(Features.of(normal(4, 6)))
    with pytest.raises(ValueError, match=re.escape("damping must be finite and not negative, got -0.1")):
        factor.solve(normal(4, 2), -0.1)


@PSEUDO_INVERSE
@pytest.mark.parametrize("shape", [(5, 12), (12, 5)])
@pytest.mark.parametrize(
    ("dtype", "size"),
    [(torch.float32, 1e-20), (torch.float32, 1e20), (torch.float64, 1e-200), (torch.float64, 1e200)],
)
def test_features_whose_squares_leave_the_dtype_are_solved_all_the_same(case, shape, dtype, size):
    features, target = normal(*shape).to(dtype), normal(shape[0], 2, seed=1).to(dtype)
    solution = case.solver(features * size, target)
    expected = np.linalg.pinv(features.double().numpy()) @ target.double().numpy()
    error = np.linalg.norm(solution.delta.double().numpy() * size - expected)
    assert error <= (1e-3 if dtype == torch.float32 else 1e-9) * np.linalg.norm(expected)
    assert solution.exact == (shape == (5, 12))
    assert solution.delta.dtype == dtype


@PSEUDO_INVERSE
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_a_bias_column_beside_features_of_any_size(case, bias, size):
    """Beside features of 1e30 it moves nothing; beside features of 1e-30 it is all that does."""
    features, target = normal(5, 12).float() * size, normal(5, 2, seed=1).float()
    solution = case.solver(features, target, bias=bias)
    if bias and size < 1:
        torch.testing.assert_close(solution.moved, target.mean(0).expand(5, 2), rtol=1e-4, atol=1e-4)
    else:
        assert solution.exact


@each("case", SOLVERS, lambda case: case.pseudo_inverse and case.measures_rank)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("independent", "times"), [(1, 20), (4, 5)])
def test_the_rank_of_repeated_rows_is_that_of_the_rows_without_repetition(case, independent, times, dtype):
    features, target = normal(independent, 60).repeat(times, 1).to(dtype), normal(independent, 2).repeat(times, 1)
    solution = case.solver(features, target.to(dtype))
    assert solution.rank == independent
    assert solution.defect <= 1e-3  # the repeated targets can be met


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    """A mesh of this one process."""
    store = distributed.FileStore(str(tmp_path_factory.mktemp("mesh") / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@PSEUDO_INVERSE
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("placement", [Shard(1), Replicate()], ids=["sharded", "replicated"])
@pytest.mark.parametrize("shape", SHAPES)
def test_features_on_a_mesh_have_the_solution_of_plain_ones(case, shape, placement, bias, mesh):
    features, target = normal(*shape), normal(shape[0], 4, seed=1)
    plain = Features.of(features, bias=bias)
    spread = Features.of(distribute_tensor(features, mesh, [placement]), bias=bias)
    for damping in (0.0, 0.1):
        expected = case.solver.factor(plain).solve(target, damping)
        solution = case.solver.factor(spread).solve(target, damping)
        np.testing.assert_allclose(plain_array(spread, solution), plain_array(plain, expected), rtol=1e-7, atol=1e-9)
        assert solution.rank == expected.rank
        assert solution.defect == pytest.approx(expected.defect, rel=1e-6, abs=1e-12)


def plain_array(map, solution):
    return map.stack(solution.x).numpy()


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Steps down the ladder are logged, here on purpose."""
    caplog.set_level(logging.CRITICAL, "revgn.solvers")
