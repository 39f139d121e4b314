import math
import re

import numpy as np
import pytest
import torch

from networks import normal
from revgn.linear import Features
from revgn.solvers import CG, QR, SVD, Cholesky, Eigh, Randomized
from tables import SOLVERS, each

EVERY_SOLVER = each("case", SOLVERS)
EXACT = each("case", SOLVERS, lambda case: case.exact)
PSEUDO_INVERSE = each("case", SOLVERS, lambda case: case.pseudo_inverse)
# rows, features: fewer rows than features, as many, more, and single ones.
WIDE = [(20, 50), (20, 20), (1, 5), (1, 1)]
TALL = [(20, 19), (50, 20), (5, 1)]
DEFICIENT = [(20, 50, 8), (50, 20, 8), (20, 20, 1)]


def problem(n, h, *, rank=None, bias=False, dtype=torch.float64, columns=12):
    features = normal(n, h) if rank is None else normal(n, rank) @ normal(rank, h, seed=2)
    dense = features.numpy() if not bias else np.hstack([features.numpy(), np.ones((n, 1))])
    return features.to(dtype), normal(n, columns, seed=1).to(dtype), dense


def stacked(solution):
    delta = solution.delta.double().numpy()
    return delta if solution.bias is None else np.vstack([delta, solution.bias.double().numpy()])


def assert_pseudo_inverse(case, features, target, dense, rank, rtol):
    bias = dense.shape[1] > features.shape[1]
    solution = case.solver(features, target, bias=bias)
    expected = np.linalg.pinv(dense, rcond=1e-5) @ target.double().numpy()
    assert np.linalg.norm(stacked(solution) - expected) <= rtol * np.linalg.norm(expected)
    assert solution.rank == (rank if case.measures_rank else None)
    assert solution.delta.dtype == target.dtype
    assert (solution.bias is not None) == bias
    return solution


@EXACT
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "h"), WIDE)
def test_solution_is_the_pseudo_inverse_times_the_target(case, n, h, bias, dtype):
    features, target, dense = problem(n, h, bias=bias, dtype=dtype)
    assert_pseudo_inverse(case, features, target, dense, n, case.tolerance[dtype])


@PSEUDO_INVERSE
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "h"), TALL)
def test_with_more_rows_than_features_it_is_the_least_squares_solution(case, n, h, bias, dtype):
    features, target, dense = problem(n, h, bias=bias, dtype=dtype)
    assert_pseudo_inverse(case, features, target, dense, h + bias, case.tolerance[dtype])


@PSEUDO_INVERSE
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-3), (torch.float64, 1e-8)])
@pytest.mark.parametrize(("n", "h", "rank"), DEFICIENT)
def test_features_that_lost_rank_get_the_least_norm_least_squares_solution(case, n, h, rank, bias, dtype, rtol):
    features, target, dense = problem(n, h, rank=rank, bias=bias, dtype=dtype)
    assert not assert_pseudo_inverse(case, features, target, dense, rank + bias, rtol).exact


@EXACT
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_exact_solver_is_exact_on_well_posed_features(case, dtype):
    features = normal(200, 40).mul(3).matmul(normal(40, 1000, seed=3)).relu().to(dtype)
    solution = case.solver(features, normal(200, 30, seed=1).to(dtype), bias=True)
    assert solution.exact
    assert solution.defect <= {torch.float32: 1e-3, torch.float64: 1e-11}[dtype]


@pytest.mark.parametrize("columns", [3, 8, 100])
@pytest.mark.parametrize("damping", [1e-3, 10.0])
def test_defect_is_that_of_the_solution_itself(damping, columns):
    features, target, dense = problem(60, 200, columns=columns, bias=True)
    solution = Cholesky(damping)(features, target, bias=True)
    left = target.numpy() - dense @ stacked(solution)
    true = np.linalg.norm(left) / np.linalg.norm(target.numpy())
    np.testing.assert_allclose(solution.moved.numpy(), dense @ stacked(solution), rtol=1e-9, atol=1e-9)
    # Up to eight columns are measured outright; beyond that eight probes estimate the square to about 1 in 2.
    assert solution.defect == pytest.approx(true, rel=1e-9 if columns <= 8 else 0.6)
    assert solution.defect != 0


def test_probed_defect_is_unbiased():
    """Over many residuals the mean square of the estimate is that of the truth: 200 pairs, 8 probes, 30 columns."""
    ratios = []
    for seed in range(200):
        solution = Cholesky(1.0)(normal(10, 20, seed=seed), normal(10, 30, seed=1000 + seed))
        true = torch.linalg.norm(solution.target - solution.moved) / torch.linalg.norm(solution.target)
        ratios.append((solution.defect / true.item()) ** 2)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)


@EVERY_SOLVER
def test_zero_target_moves_nothing(case):
    solution = case.solver(normal(5, 9), torch.zeros(5, 3, dtype=torch.float64))
    assert solution.delta.count_nonzero() == 0
    assert solution.defect == 0.0


@pytest.mark.parametrize("shape", [(30, 80), (80, 30)])
@pytest.mark.parametrize("rtol", [0.3, 0.1, 1e-2])
def test_eigh_and_svd_truncate_alike(rtol, shape):
    u, _, v = torch.linalg.svd(normal(*shape), full_matrices=False)
    features = u @ torch.diag(torch.logspace(0, -3, 30, dtype=torch.float64)) @ v
    target = normal(shape[0], 5, seed=1)
    by_svd, by_eigh = SVD(rtol)(features, target, bias=True), Eigh(rtol)(features, target, bias=True)
    assert by_svd.rank == by_eigh.rank < 30
    torch.testing.assert_close(by_eigh.delta, by_svd.delta, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(by_eigh.bias, by_svd.bias, rtol=1e-8, atol=1e-8)


def test_svd_drops_singular_values_below_the_absolute_tolerance():
    features = torch.diag(torch.tensor([1.0, 1e-2, 1e-4], dtype=torch.float64))
    assert SVD(atol=1e-3)(features, normal(3, 2)).rank == 2
    assert SVD(rtol=0.1, atol=1e-3)(features, normal(3, 2)).rank == 1


@each("case", SOLVERS, lambda case: case.damping)
@pytest.mark.parametrize(("n", "h"), [(20, 50), (50, 20)])
def test_damped_solvers_give_the_ridge_solution(n, h, case):
    features, target, dense = problem(n, h, bias=True)
    solution = case.solver(features, target, bias=True)
    gram = dense @ dense.T if dense.shape[1] >= n else dense.T @ dense
    ridge = case.damping * np.diag(gram).mean()
    expected = np.linalg.solve(dense.T @ dense + ridge * np.eye(dense.shape[1]), dense.T @ target.numpy())
    np.testing.assert_allclose(stacked(solution), expected, rtol=1e-9, atol=1e-12)


def test_refinement_recovers_what_the_gram_matrix_lost():
    """Features of condition number 3e3: their Gram matrix in float32 has none of the smallest directions right."""
    u, _, v = torch.linalg.svd(normal(100, 400), full_matrices=False)
    features = (u @ torch.diag(torch.logspace(0, -3.5, 100, dtype=torch.float64)) @ v).float()
    target = normal(100, 20, seed=1).float()
    plain = Cholesky(refinements=0)
    # Unrefined, the solution is not exact, so Eigh's takes its place, which truncates.
    assert not plain(features, target).exact
    assert Cholesky(refinements=8)(features, target).exact


REPEATED = {name: case.solver for name, case in SOLVERS.items() if case.pseudo_inverse} | {
    "cholesky, damped by nothing much": Cholesky(1e-30),
    "cholesky, damped a little": Cholesky(1e-3),
}


@each("solver", REPEATED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_matrix_of_one_repeated_row_ends_in_a_finite_least_squares_solution(dtype, solver):
    features, target = torch.ones(6, 10, dtype=dtype), normal(6, 2).to(dtype)
    solution = solver(features, target)
    expected = target.mean(0).expand(6, 2)
    torch.testing.assert_close(solution.moved, expected, rtol=2e-2, atol=1e-4)


@each("case", SOLVERS, lambda case: case.any_shape)
def test_zero_features_give_a_zero_step(case):
    solution = case.solver(torch.zeros(4, 6), normal(4, 2).float())
    assert solution.delta.count_nonzero() == 0
    assert solution.rank == (0 if case.measures_rank else None)
    assert solution.defect == pytest.approx(1.0)


class TestLadder:
    def test_cholesky_takes_more_damping_then_eigh(self, monkeypatch, caplog, fresh_log):
        calls = []

        def failing(matrix, out):
            calls.append(matrix.diagonal().mean().item())
            out[1].fill_(1)
            return out

        monkeypatch.setattr(torch.linalg, "cholesky_ex", failing)
        features, target, dense = problem(20, 50)
        for _ in range(2):
            solution = Cholesky()(features, target)
        assert len(calls) == 6
        assert calls[0] < calls[1] < calls[2]
        np.testing.assert_allclose(stacked(solution), np.linalg.pinv(dense) @ target.numpy(), rtol=1e-7, atol=1e-9)
        assert caplog.text.count("trying more damping, then Eigh") == 1

    def test_eigh_falls_back_on_svd(self, monkeypatch, caplog, fresh_log):
        def failing(matrix):
            raise torch.linalg.LinAlgError("no convergence")

        monkeypatch.setattr(torch.linalg, "eigh", failing)
        features, target, dense = problem(20, 50)
        solution = Eigh()(features, target)
        np.testing.assert_allclose(stacked(solution), np.linalg.pinv(dense) @ target.numpy(), rtol=1e-9, atol=1e-9)
        assert "Eigh: the eigendecomposition did not converge; solving by SVD instead" in caplog.text

    def test_qr_of_deficient_features_falls_back_on_svd(self, caplog, fresh_log):
        features, target, _ = problem(20, 50, rank=8)
        assert QR()(features, target).rank == 8
        assert "QR: the features do not have full rank; solving by SVD instead" in caplog.text

    @pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
    def test_qr_of_deficient_features_is_damped_without_an_svd(self, shape, monkeypatch):
        features, target, _ = problem(*shape, rank=8)
        monkeypatch.delattr(torch.linalg, "svd")
        solution = QR().factor(Features.of(features, bias=False)).solve(target, 1e-3)
        gram = features @ features.mT
        ridge = 1e-3 * gram.trace() / min(shape) * torch.eye(len(gram), dtype=gram.dtype)
        expected = features.mT @ torch.linalg.solve(gram + ridge, target)
        np.testing.assert_allclose(stacked(solution), expected.numpy(), rtol=1e-9, atol=1e-12)

    @pytest.fixture
    def fresh_log(self):
        from revgn.solvers.solver import say_once

        say_once.cache_clear()


NAN = torch.full((4, 6), math.nan)
BAD_PROBLEMS = [
    (normal(4, 6), normal(5, 2), ValueError, "features of shape (4, 6) and target of shape (5, 2)"),
    (normal(4), normal(4, 2), ValueError, "features of shape (4,)"),
    (normal(0, 6), normal(0, 2), ValueError, "with the same n >= 1"),
    (normal(4, 6).float(), normal(4, 2), ValueError, "features of torch.float32 and target of torch.float64"),
    (normal(4, 6).half(), normal(4, 2).half(), ValueError, "expected both float32 or both float64"),
    (normal(4, 6).float(), NAN[:, :2], FloatingPointError, "the target holds NaN or infinity"),
    (NAN, normal(4, 2).float(), FloatingPointError, "the features hold NaN or infinity"),
    (NAN.T, normal(6, 2).float(), FloatingPointError, "the features hold NaN or infinity"),
    (normal(4, 6).float() * math.inf, normal(4, 2).float(), FloatingPointError, "the features hold NaN or infinity"),
]


@pytest.mark.parametrize(("features", "target", "error", "message"), BAD_PROBLEMS)
def test_bad_problems_are_refused(features, target, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Cholesky()(features, target)


@EVERY_SOLVER
def test_no_solver_carries_nan_on(case):
    with pytest.raises(FloatingPointError, match="the features hold NaN or infinity"):
        case.solver(NAN, normal(4, 2).float())


BAD_OPTIONS = [
    (lambda: SVD(rtol=-1.0), "rtol must be finite and not negative, got -1.0"),
    (lambda: SVD(atol=math.inf), "atol must be finite and not negative, got inf"),
    (lambda: Eigh(rtol=math.nan), "rtol must be finite and not negative, got nan"),
    (lambda: Cholesky(damping=-1e-3), "damping must be finite and not negative, got -0.001"),
    (lambda: Cholesky(refinements=-1), "refinements must be finite and not negative, got -1"),
    (lambda: CG(tol=-1.0), "tol must be finite and not negative, got -1.0"),
    (lambda: CG(damping=math.inf), "damping must be finite and not negative, got inf"),
    (lambda: CG(max_iterations=0), "max_iterations must be at least 1, got 0"),
    (lambda: Randomized(rank=0), "rank must be at least 1, or None to find it by rtol; got 0"),
    (lambda: Randomized(rtol=-0.1), "rtol must be finite and not negative, got -0.1"),
    (lambda: Randomized(oversampling=-1), "oversampling must be finite and not negative, got -1"),
    (lambda: Randomized(power_iterations=-1), "power_iterations must be finite and not negative, got -1"),
]


@pytest.mark.parametrize(("make", "message"), BAD_OPTIONS)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
