"""The problems of Moré, Garbow and Hillstrom start, and have their minima, where it was published."""

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from torch import nn

import mgh
import revgn

pytestmark = pytest.mark.nightly

PROBLEMS = {problem.name: problem for problem in mgh.PROBLEMS}

# Norms of the residuals at the starts of MINPACK's test problems, as the tests of Apache Commons Math give them.
NORMS = {
    "Rosenbrock": [24.2**0.5, 1795769.0**0.5, 11 * 169000121.0**0.5],
    "helical valley": [50.0, 102.95630140987, 991.261822123701],
    "Powell singular": [14.6628782986152, 1270.9838708654, 126887.90328475],
    "Freudenstein and Roth": [20.0124960961895, 12432.833948863, 11426454.595762],
    "Bard": [6.45613629515967, 36.1418531596785, 384.114678637399],
    "Kowalik and Osborne": [0.0728915102882945, 2.97937007555202, 29.9590617016037],
    "Meyer": [41153.4665543031, 4168216.89130846],
    "Watson, n = 6": [5.47722557505166, 6433.12578950026, 674256.040605213],
    "Watson, n = 9": [5.47722557505166, 12088.127069307, 1269109.29043834],
    "Watson, n = 12": [5.47722557505166, 19220.7589790951, 2018918.04462367],
    "box three-dimensional": [32.1115837449572],
    "Jennrich and Sampson": [64.5856498144943],
    "Brown and Dennis": [2815.43839161816, 555073.354173069, 61211252.2338581],
    "Chebyquad, n = 8": [0.196513862833975],
    "Chebyquad, n = 9": [0.16994993465202],
    "Chebyquad, n = 10": [0.183747831178711],
    "Brown almost-linear": [16.5302162063499, 9765624.00089211, 9.765625e16],
    "Osborne 1": [0.937564021037838],
    "Osborne 2": [1.44686540984712],
}

# Points that the paper gives, each with its sum of squares there.
POINTS = [
    ("Rosenbrock", [1, 1], 0),
    ("Freudenstein and Roth", [5, 4], 0),
    ("Brown badly scaled", [1e6, 2e-6], 0),
    ("Beale", [3, 0.5], 0),
    ("helical valley", [1, 0, 0], 0),
    ("Gulf research and development", [50, 25, 1.5], 0),
    ("box three-dimensional", [1, 10, 1], 0),
    ("box three-dimensional", [10, 1, -1], 0),
    ("box three-dimensional", [3, 3, 0], 0),
    ("Powell singular", [0, 0, 0, 0], 0),
    ("Wood", [1, 1, 1, 1], 0),
    ("Biggs EXP6", [1, 10, 1, 5, 4, 3], 0),
    ("extended Rosenbrock", 20 * [1], 0),
    ("extended Powell singular", 20 * [0], 0),
    ("variably dimensioned", 10 * [1], 0),
    ("Brown almost-linear", 10 * [1], 0),
    ("Brown almost-linear", [*(9 * [0]), 11], 1),
    ("linear, full rank", 5 * [-1], 15),
]


def values(residuals):
    """Residuals and their Jacobian as SciPy takes them."""
    jacobian = torch.func.jacfwd(residuals)
    return [lambda x, f=f: f(torch.from_numpy(np.array(x))).numpy() for f in (residuals, jacobian)]


@pytest.mark.parametrize("name", NORMS)
def test_residuals_at_the_starts_have_the_published_norms(name):
    problem = PROBLEMS[name]
    norms = [problem.residuals(start).norm().item() for start in problem.starts]
    assert norms == pytest.approx(NORMS[name], rel=1e-12)


@pytest.mark.parametrize(("name", "point", "expected"), POINTS)
def test_sum_of_squares_at_a_published_point_is_the_published_one(name, point, expected):
    residuals = PROBLEMS[name].residuals(torch.tensor(point, dtype=torch.float64))
    assert (residuals @ residuals).item() == pytest.approx(expected, rel=1e-12, abs=1e-24)


@pytest.mark.parametrize("name", PROBLEMS)
def test_scipy_reaches_a_published_minimum_from_the_standard_start(name):
    problem = PROBLEMS[name]
    residuals, jacobian = values(problem.residuals)
    tolerances = dict.fromkeys(["ftol", "xtol", "gtol"], 1e-15)
    start = problem.start.numpy()

    def reached(method):
        found = least_squares(residuals, start, jacobian, method=method, x_scale="jac", max_nfev=1000, **tolerances)
        # Published digits are cut off, not rounded: a minimum may be above by one in the sixth, and by rounding below.
        return any(minimum * (1 - 1e-9) <= 2 * found.cost <= minimum * (1 + 1e-5) + 1e-20 for minimum in problem.minima)

    # On curved valleys the last bits of the residuals decide which way "lm" goes, and whether it arrives in time.
    assert reached("lm") or reached("trf")


@pytest.mark.parametrize("name", PROBLEMS)
def test_residuals_are_float64_and_differentiable_at_every_start(name):
    problem = PROBLEMS[name]
    for start in problem.starts:
        residuals = problem.residuals(start)
        jacobian = torch.func.jacrev(problem.residuals)(start)
        assert residuals.dtype == jacobian.dtype == torch.float64
        assert jacobian.shape == (*residuals.shape, *start.shape)
        assert len(residuals) >= len(start)
        assert jacobian.isfinite().all()
        torch.testing.assert_close(torch.func.jacfwd(problem.residuals)(start), jacobian)


def test_starts_are_multiples_of_the_standard_one_and_of_ones_where_that_is_the_origin():
    assert [start.tolist() for start in PROBLEMS["Bard"].starts] == [3 * [1.0], 3 * [10.0], 3 * [100.0]]
    assert [start.tolist() for start in PROBLEMS["Watson, n = 6"].starts] == [6 * [0.0], 6 * [10.0], 6 * [100.0]]
    assert len(PROBLEMS) == len(mgh.PROBLEMS)
    assert set(mgh.RESIDUALS) == set(range(1, 36))


class Point(nn.Module):
    """The unknowns x, (n,), as a module."""

    def __init__(self, start):
        super().__init__()
        self.x = nn.Parameter(start.clone())


# After 300 steps its sum of squares is 2e-12, and still falling.
SLOW = "Powell badly scaled"


@pytest.mark.parametrize("name", [name for name in PROBLEMS if name != SLOW])
def test_levenberg_marquardt_reaches_a_published_minimum_from_the_standard_start(name):
    problem = PROBLEMS[name]
    model = Point(problem.start)
    fit = revgn.fit(
        model,
        inputs=torch.zeros(1),
        residuals=lambda point, _: problem.residuals(point.x),
        max_steps=300,
        tolerance=1e-10,
    )
    assert fit.steps > 0
    reached = float(problem.residuals(model.x.detach()).square().sum())
    assert any(least * (1 - 1e-4) - 1e-12 <= reached <= least * (1 + 1e-5) + 1e-12 for least in problem.minima)
