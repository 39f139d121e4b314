"""NIST's problems as read here are those that NIST certified: parameters, sums of squares, standard deviations."""

import re

import pytest
import torch

import nist

pytestmark = pytest.mark.nightly

DIGITS = 5e-11  # what eleven published digits leave open, relative
EPSILON = 2.0**-52


@pytest.fixture(scope="module", params=nist.NAMES)
def problem(request):
    return nist.load(request.param)


def at(problem, b):
    """Residuals (n,) and their Jacobian (n, p) at parameters b (p,)."""
    model = problem.model(b)

    def residuals(parameters):
        return (torch.func.functional_call(model, {"b": parameters}, problem.inputs) - problem.targets).flatten()

    return residuals(b), torch.func.jacfwd(residuals)(b)


def scaled(jacobian):
    """Columns of norm 1, and the norms: parameters here have anything from 1e-9 to 1e4 for a unit."""
    norms = jacobian.norm(dim=0)
    return jacobian / norms, norms


def test_there_are_27_problems_and_a_file_for_each():
    assert sorted(nist.NAMES) == sorted(path.stem for path in nist.FOLDER.glob("*.dat"))
    assert len(nist.NAMES) == 27


def test_sizes_are_those_that_the_file_says(problem):
    text = (nist.FOLDER / f"{problem.name}.dat").read_text()
    [observations] = re.findall(r"Number of Observations: +(\d+)", text)
    [freedom] = re.findall(r"Degrees of Freedom: +(\d+)", text)
    [parameters] = re.findall(r"(\d+) Parameters \(b1 ", text)
    [predictors] = re.findall(r"(\d+) Predictor", text)
    n, p = int(observations), int(parameters)
    if problem.name != "Rat43":  # whose file says 9 for 15 - 4; its residual standard deviation is by 11
        assert n - p == int(freedom)
    assert problem.inputs.shape == (n, int(predictors))
    assert problem.targets.shape == (n, 1)
    assert problem.starts.shape == (2, p)
    assert problem.certified.shape == problem.deviations.shape == (p,)
    assert (problem.deviations > 0).all()


def test_a_model_has_one_parameter_vector_which_starts_where_it_is_told(problem):
    for start in problem.starts:
        model = problem.model(start)
        [(name, b)] = model.named_parameters()
        assert name == "b"
        assert torch.equal(b, start)
        assert b.data_ptr() != start.data_ptr()
        outputs = model(problem.inputs)
        assert outputs.shape == problem.targets.shape
        assert outputs.dtype == b.dtype == problem.inputs.dtype == problem.targets.dtype == torch.float64
        assert outputs.isfinite().all()


def rounding(problem, jacobian):
    """How far residuals (n,) may be from exact, in norm: by their evaluation, and by the rounding of the parameters."""
    evaluation = 8 * EPSILON * problem.targets.norm()
    return evaluation, (jacobian.abs() @ (DIGITS * problem.certified.abs())).norm()


def test_sum_of_squares_at_the_certified_parameters_is_the_certified_one(problem):
    residuals, jacobian = at(problem, problem.certified)
    evaluation, parameters = rounding(problem, jacobian)
    # Parameters count in second order: around its least value the sum of squares changes no faster.
    allowed = DIGITS * problem.sum_of_squares + 2 * residuals.norm() * evaluation + evaluation**2 + 2 * parameters**2
    assert abs(residuals @ residuals - problem.sum_of_squares) <= allowed
    if problem.name != "Lanczos1":  # whose residuals are 1e-13: eleven digits of the parameters do not give them
        assert allowed <= 2e-8 * problem.sum_of_squares


def test_gradient_at_the_certified_parameters_is_zero_but_for_their_rounding(problem):
    residuals, jacobian = at(problem, problem.certified)
    directions, _ = scaled(jacobian)
    allowed = 2 * sum(rounding(problem, jacobian))
    assert ((directions.T @ residuals).abs() <= allowed).all()
    if problem.name != "Lanczos1":
        assert allowed <= 2e-4 * residuals.norm()


def test_a_gauss_newton_step_from_the_certified_parameters_moves_none_of_them(problem):
    residuals, jacobian = at(problem, problem.certified)
    directions, norms = scaled(jacobian)
    step = torch.linalg.lstsq(directions, residuals[:, None], driver="gelsd").solution[:, 0] / norms
    assert (step.abs() <= 1e-9 * problem.certified.abs()).all()
    # Of Lanczos1 too: digits beyond the eleventh bring the sum from 4e-21 down to the 1e-25 published.
    there, _ = at(problem, problem.certified - step)
    assert there @ there == pytest.approx(problem.sum_of_squares, rel=1e-2, abs=0.0)


def test_standard_deviations_of_the_jacobian_are_the_certified_ones(problem):
    _, jacobian = at(problem, problem.certified)
    n, p = jacobian.shape
    directions, norms = scaled(jacobian)
    inverse = torch.linalg.qr(directions).R.inverse() / norms[:, None]  # of J^T J = R^T R
    deviations = inverse.norm(dim=1) * (problem.sum_of_squares / (n - p)) ** 0.5
    torch.testing.assert_close(deviations, problem.deviations, rtol=1e-9, atol=0.0)


def test_a_formula_takes_each_predictor_as_a_column():
    problem = nist.load("Nelson")
    b1, b2, b3 = problem.certified
    weeks, celsius = problem.inputs.T
    expected = b1 - b2 * weeks * torch.exp(-b3 * celsius)
    torch.testing.assert_close(problem.model(problem.certified)(problem.inputs)[:, 0], expected)
