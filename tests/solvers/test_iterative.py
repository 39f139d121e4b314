"""Solvers that know the features by products alone."""

import numpy as np
import pytest
import torch

from memory import PeakMemory
from networks import normal
from revgn.linear import Features
from revgn.solvers import CG, SVD, Randomized


def spectrum(values, n=60, h=150):
    """Features with the given singular values."""
    u, _, v = torch.linalg.svd(normal(n, h), full_matrices=False)
    return u[:, : len(values)] @ torch.diag(values) @ v[: len(values)]


DECAYING = torch.logspace(0, -4, 60, dtype=torch.float64)


def test_cg_stops_at_the_defect_that_was_asked_for():
    features, target = spectrum(DECAYING), normal(60, 5, seed=1)
    defects = [CG(tol=tol)(features, target).defect for tol in (0.3, 1e-2, 1e-6)]
    for defect, tol in zip(defects, (0.3, 1e-2, 1e-6), strict=True):
        assert 1e-3 * tol < defect <= tol * 1.001


def test_cg_takes_about_as_many_iterations_as_blocks_of_columns_fill_the_rows(monkeypatch):
    """A block searches k directions at a time: a tenth of the products that one column after the other would take."""
    products = []
    there_and_back = Features.there_and_back
    monkeypatch.setattr(Features, "there_and_back", lambda *args: products.append(1) or there_and_back(*args))
    solution = CG(tol=1e-8)(spectrum(DECAYING), normal(60, 20, seed=1))
    assert solution.defect <= 1.001e-8
    assert 3 <= len(products) <= 6


def test_cg_that_runs_out_of_iterations_says_so_and_reports_its_defect(caplog):
    from revgn.solvers.solver import say_once

    say_once.cache_clear()
    solution = CG(max_iterations=2)(spectrum(DECAYING), normal(60, 2, seed=1))
    assert "CG: not converged in 2 iterations" in caplog.text
    assert solution.defect > 1e-2
    assert not solution.exact


def test_cg_holds_no_gram_matrix():
    features, target = normal(2000, 1500, dtype=torch.float32), normal(2000, 10, seed=1, dtype=torch.float32)
    solver = CG()
    with PeakMemory() as memory:
        solver(features, target, bias=True)
    assert memory.peak < 0.1 * 4 * 1501**2


@pytest.mark.parametrize("shape", [(60, 150), (150, 60)])
@pytest.mark.parametrize("rtol", [0.5, 0.1, 1e-2])
def test_randomized_with_adaptive_rank_truncates_as_svd_does(shape, rtol):
    features, target = spectrum(DECAYING, *shape), normal(shape[0], 5, seed=1)
    solution, expected = Randomized(rtol=rtol, power_iterations=6)(features, target), SVD(rtol)(features, target)
    assert solution.rank == expected.rank
    torch.testing.assert_close(solution.delta, expected.delta, rtol=1e-6, atol=1e-6)


def test_randomized_finds_a_rank_beyond_its_first_guess():
    features = spectrum(torch.logspace(0, -3, 200, dtype=torch.float64), 200, 400)
    target = normal(200, 5, seed=1)
    expected = SVD(1e-2)(features, target)
    solution = Randomized(rtol=1e-2, power_iterations=6)(features, target)
    assert solution.rank == expected.rank == 133
    torch.testing.assert_close(solution.delta, expected.delta, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 7, 30])
def test_randomized_with_fixed_rank_inverts_the_best_approximation(rank):
    features, target = spectrum(torch.logspace(0, -2, 60, dtype=torch.float64)), normal(60, 5, seed=1)
    u, s, vh = np.linalg.svd(features.numpy(), full_matrices=False)
    expected = vh[:rank].T @ (u[:, :rank].T @ target.numpy() / s[:rank, None])
    solution = Randomized(rank=rank, rtol=0.0, power_iterations=60)(features, target)
    assert solution.rank == rank
    np.testing.assert_allclose(solution.delta.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_more_power_iterations_come_nearer():
    features, target = spectrum(torch.logspace(0, -2, 60, dtype=torch.float64)), normal(60, 5, seed=1)
    expected = SVD(0.1)(features, target).delta
    rank = SVD(0.1)(features, target).rank
    errors = [
        torch.linalg.norm(
            Randomized(rank=rank, rtol=0.0, oversampling=4, power_iterations=q)(features, target).delta - expected
        )
        for q in (0, 2, 8)
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_randomized_is_the_same_every_time_and_leaves_global_random_numbers_alone():
    features, target = spectrum(DECAYING), normal(60, 5, seed=1)
    before = torch.get_rng_state()
    first, second = Randomized()(features, target), Randomized()(features, target)
    assert torch.equal(first.delta, second.delta)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first.delta, Randomized(seed=1)(features, target).delta)
