"""What holds for every solver: exact, truncated, damped, noisy, or with a memory."""

import copy
import pickle

import numpy as np
import pytest
import torch

from networks import normal
from revgn.linear import Features, WeightedRows
from tables import SOLVERS, each

EVERY_SOLVER = each("case", SOLVERS)
DETERMINED = each("case", SOLVERS, lambda case: case.any_shape and not case.random)


def problem(n=20, h=50, columns=6, dtype=torch.float64):
    return normal(n, h).to(dtype), normal(n, columns, seed=1).to(dtype)


def stacked(solution):
    return solution.delta if solution.bias is None else torch.vstack([solution.delta, solution.bias])


@EVERY_SOLVER
@pytest.mark.parametrize("bias", [False, True])
def test_the_defect_is_what_the_solution_leaves(case, bias):
    features, target = problem()  # so few columns are measured outright, and not probed
    solution = case.solver(features, target, bias=bias)
    dense = np.hstack([features.numpy(), np.ones((len(features), 1))]) if bias else features.numpy()
    moved = dense @ stacked(solution).numpy()
    defect = np.linalg.norm(moved - target.numpy()) / np.linalg.norm(target.numpy())
    np.testing.assert_allclose(solution.moved.numpy(), moved, rtol=1e-9, atol=1e-10)
    assert solution.defect == pytest.approx(defect, rel=1e-6, abs=1e-13)
    assert solution.exact == case.exact == (defect < 1e-2)


@EVERY_SOLVER
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_solution_is_the_same_every_time_and_nothing_else_is_touched(case, dtype):
    features, target = problem(dtype=dtype)
    before, state = (features.clone(), target.clone()), torch.get_rng_state()
    first = case.solver(features, target, bias=True)
    torch.randn(3)
    assert torch.equal(stacked(case.solver(features, target, bias=True)), stacked(first))
    assert first.delta.dtype == first.bias.dtype == first.moved.dtype == dtype
    assert torch.equal(features, before[0])
    assert torch.equal(target, before[1])
    torch.set_rng_state(state)
    case.solver(features, target)
    assert torch.equal(torch.get_rng_state(), state)


@EVERY_SOLVER
def test_copies_and_pickles_are_equal_and_solve_alike(case):
    for other in (copy.deepcopy(case.solver), pickle.loads(pickle.dumps(case.solver))):
        assert other == case.solver
        assert torch.equal(other(*problem()).delta, case.solver(*problem()).delta)


@DETERMINED
@pytest.mark.parametrize("shape", [(20, 50), (50, 20)], ids=["wide", "tall"])
def test_solutions_are_linear_in_the_target(case, shape):
    features, target = problem(*shape)
    other = normal(*target.shape, seed=2)
    factor = case.solver.factor(Features.of(features))
    together = 3 * factor.solve(target).delta - factor.solve(other).delta
    torch.testing.assert_close(factor.solve(3 * target - other).delta, together, rtol=1e-8, atol=1e-9)


@DETERMINED
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(20, 50), (50, 20)], ids=["wide", "tall"])
def test_rows_that_are_weighed_are_solved_as_if_they_were_written_out(case, shape, bias):
    (features, target), root = problem(*shape), normal(shape[0], seed=7).abs() + 0.1
    weighed = WeightedRows(root, Features.of(features, bias=bias))
    ones = torch.ones(shape[0], 1, dtype=torch.float64)
    written_out = root.unsqueeze(1) * (torch.hstack([features, ones]) if bias else features)
    expected = case.solver.factor(Features.of(written_out)).solve(target)
    solution = case.solver.factor(weighed).solve(target)
    torch.testing.assert_close(stacked(solution), expected.delta, rtol=1e-7, atol=1e-8)
    assert solution.rank == expected.rank
    assert solution.defect == pytest.approx(expected.defect, rel=1e-6, abs=1e-11)
