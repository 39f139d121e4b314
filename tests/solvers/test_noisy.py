import math
import re

import numpy as np
import pytest
import torch

from networks import normal
from revgn.solvers import Cholesky, Noisy


def stacked(solution):
    return solution.delta if solution.bias is None else torch.vstack([solution.delta, solution.bias])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("std", [1e-3, 0.1, 2.0])
@pytest.mark.parametrize("shape", [(20, 300), (300, 20)], ids=["wide", "tall"])
def test_noise_is_gaussian_of_the_wanted_size_beside_the_solution(shape, std, bias):
    features, target = normal(*shape), normal(shape[0], 30, seed=1)
    exact = stacked(Cholesky()(features, target, bias=bias))
    noise = stacked(Noisy(std)(features, target, bias=bias)) - exact
    size = torch.linalg.norm(exact) / exact.numel() ** 0.5
    assert noise.std().item() == pytest.approx(std * size.item(), rel=0.1)
    # Of Gaussian numbers 68.3 % lie within one standard deviation; here they are 630 or more.
    assert (noise.abs() < std * size).double().mean().item() == pytest.approx(0.683, abs=0.06)
    assert abs(torch.corrcoef(torch.stack([noise.flatten(), exact.flatten()]))[0, 1]) < 0.15


def test_defect_is_that_of_the_noisy_solution():
    features, target = normal(40, 100), normal(40, 6, seed=1)  # few columns: measured outright, not probed
    solution = Noisy(0.5)(features, target, bias=True)
    dense = np.hstack([features.numpy(), np.ones((40, 1))])
    left = target.numpy() - dense @ stacked(solution).numpy()
    true = np.linalg.norm(left) / np.linalg.norm(target.numpy())
    assert solution.defect == pytest.approx(true, rel=1e-9)
    assert solution.defect > 0.1
    assert not solution.exact
    assert not solution.surjective


def test_without_noise_it_is_the_exact_solution():
    features, target = normal(20, 50), normal(20, 4, seed=1)
    torch.testing.assert_close(Noisy(0.0)(features, target).delta, Cholesky()(features, target).delta, rtol=0, atol=0)


def test_one_problem_has_the_same_noise_every_time_whatever_was_drawn_before():
    features, target = normal(20, 50), normal(20, 4, seed=1)
    first = Noisy(0.1)(features, target).delta
    torch.randn(3)
    assert torch.equal(Noisy(0.1)(features, target).delta, first)
    state = torch.get_rng_state()
    Noisy(0.1)(features, target)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("seed", "factor"), [(1, 1.0), (0, 1.0 + 1e-12)], ids=["another seed", "another target"])
def test_noise_of_two_problems_is_independent(seed, factor):
    features, target = normal(50, 200), normal(50, 20, seed=1)
    exact = Cholesky()(features, target).delta
    noises = [
        Noisy(0.1)(features, target).delta - exact,
        Noisy(0.1, seed)(features, factor * target).delta - factor * exact,
    ]
    assert abs(torch.corrcoef(torch.stack([noise.flatten() for noise in noises]))[0, 1]) < 0.06


BAD = [
    (lambda: Noisy(-0.1), "std must be finite and not negative, got -0.1"),
    (lambda: Noisy(math.inf), "std must be finite and not negative, got inf"),
    (lambda: Noisy(seed=-1), "seed must be a whole number from 0 on, got -1"),
    (lambda: Noisy(seed=0.5), "seed must be a whole number from 0 on, got 0.5"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
