"""The fit of one network, its hat matrix and its posterior, against what is known by other means."""

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("sklearn")

import revgn
from revgn.estimators.perceptron import Network
from revgn.estimators.posterior import variances
from revgn.estimators.row_space import FittedNetwork, Rows, Spectrum, fit_network
from revgn.linear import Jacobian


@pytest.fixture
def table():
    random = np.random.RandomState(0)
    x = random.randn(40, 3)
    y = np.sin(2 * x[:, 0]) + 0.3 * random.randn(40)
    return x, (y - y.mean()) / y.std()


def started(*sizes, seed=1):
    return Network.start(sizes, np.random.RandomState(seed))


def linear_model(x):
    """A network without hidden layers: its tangent features are (x, 1) wherever it is."""
    return started(x.shape[1], 1)


def ridge(x, y, weight, strength):
    """Parameters of the penalised weighted least squares, by the normal equations."""
    phi = np.column_stack((x, np.ones(len(x))))
    return np.linalg.solve(phi.T @ (weight[:, None] * phi) + strength * np.eye(phi.shape[1]), phi.T @ (weight * y))


def test_fit_is_that_of_levenberg_marquardt_with_a_ridge_by_cross_validation(table):
    x, y = table
    start = started(3, 8, 1)
    # Of a few steps: at small strengths rounding grows from one to the next.
    fitted = fit_network(start, Rows.of(x, y, np.ones(40)), max_iter=8)
    model = start.module()
    optimizer = revgn.LevenbergMarquardt(model, damping="gcv")
    theirs = revgn.fit(
        model, inputs=torch.tensor(x), targets=torch.tensor(y)[:, None], optimizer=optimizer, max_steps=8
    )
    np.testing.assert_allclose(fitted.loss_curve, [record["loss"] for record in theirs.history], rtol=1e-5)
    np.testing.assert_allclose(fitted.network.outputs(x), theirs.predict(torch.tensor(x)).numpy(), rtol=1e-5, atol=1e-7)


def test_held_out_outputs_of_a_linear_model_are_those_of_fits_without_the_row(table):
    x, y = table
    fitted = fit_network(linear_model(x), Rows.of(x, y, np.ones(40)), max_iter=3, damping=0.7)
    for row in range(0, 40, 7):
        others = np.arange(40) != row
        theta = ridge(x[others], y[others], np.ones(39), 0.7)
        np.testing.assert_allclose(fitted.held_out[row], x[row] @ theta[:-1] + theta[-1], rtol=1e-8)


def test_generalised_cross_validation_finds_the_best_strength_of_a_scan_by_refits(table):
    x, _ = table
    y = x @ [0.5, 0.1, -0.3] + 0.3 * np.random.RandomState(5).randn(40)
    rows = Rows.of(x, y, np.ones(40))
    jacobian = Jacobian(linear_model(x).module(), rows.inputs, compare_rows=False)
    chosen = Spectrum.at(jacobian, rows).best_strength()
    phi = np.column_stack((x, np.ones(40)))

    def score(strength):
        hat = phi @ np.linalg.solve(phi.T @ phi + strength * np.eye(4), phi.T)
        return 40 * np.square(y - hat @ y).sum() / (40 - 1.2 * np.trace(hat)) ** 2

    assert score(chosen) <= min(score(strength) for strength in np.logspace(-4, 4, 200)) * (1 + 1e-4)


@pytest.mark.parametrize("damping", ["gcv", 0.3])
def test_rows_of_weight_two_are_rows_that_are_there_twice(table, damping):
    x, y = table
    weight = np.random.RandomState(2).randint(1, 4, 40)
    weighted = fit_network(started(3, 8, 1), Rows.of(x, y, weight.astype(float)), max_iter=50, damping=damping)
    again = np.repeat(np.arange(40), weight)
    repeated = fit_network(
        started(3, 8, 1), Rows.of(x[again], y[again], np.ones(len(again))), max_iter=50, damping=damping
    )
    np.testing.assert_allclose(weighted.network.outputs(x), repeated.network.outputs(x), rtol=1e-6, atol=1e-8)
    if damping != "gcv":  # which, where rows are there twice, may fit them all, and leaves nothing to be held out
        np.testing.assert_allclose(weighted.held_out[again], repeated.held_out, rtol=1e-6, atol=1e-8)
        assert weighted.noise == pytest.approx(repeated.noise)
        assert weighted.effective_parameters == pytest.approx(repeated.effective_parameters)


def test_posterior_is_that_of_bayesian_linear_regression(table):
    x, y = table
    weight = np.random.RandomState(3).uniform(0.5, 2, 40)
    fitted = fit_network(linear_model(x), Rows.of(x, y, weight), max_iter=3, damping=0.4)
    new = np.random.RandomState(4).randn(1100, 3)
    phi, there = (np.column_stack((each, np.ones(len(each)))) for each in (x, new))
    covariance = np.linalg.inv(phi.T @ (weight[:, None] * phi) + 0.4 * np.eye(4))
    expected = np.einsum("mi,ij,mj->m", there, covariance, there)
    np.testing.assert_allclose(variances(fitted, x, weight, new), expected, rtol=1e-7)


@pytest.mark.parametrize("widths", [(), (5,), (5, 4), (4, 3, 5)])
def test_kernel_between_two_tables_is_a_part_of_that_of_both(table, widths):
    x, _ = table
    network = started(3, *widths, 1)
    whole = revgn.Jacobian(network.module(), torch.tensor(x)).gram().numpy()
    here, there = network.tangents(x[:25]), network.tangents(x[25:])
    np.testing.assert_allclose(here.kernel(there), whole[:25, 25:], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(here.diagonal(), whole.diagonal()[:25], rtol=1e-10)


def test_network_and_module_give_the_same_outputs(table):
    x, _ = table
    network = started(3, 5, 4, 2)
    with torch.no_grad():
        np.testing.assert_allclose(network.module()(torch.tensor(x)).numpy(), network.outputs(x), rtol=1e-12)
    same = Network.of(network.module())
    np.testing.assert_array_equal(same.weights[1], network.weights[1])


def test_network_starts_as_torch_does_and_leaves_its_random_numbers_alone():
    state = torch.get_rng_state()
    network = started(16, 400, 1)
    module = network.module()
    assert torch.equal(torch.get_rng_state(), state)
    theirs = nn.Linear(16, 400)
    for ours, other in ((network.weights[0], theirs.weight), (network.biases[0], theirs.bias)):
        assert np.abs(ours).max() == pytest.approx(0.25, rel=0.05)
        assert ours.std() == pytest.approx(float(other.detach().std()), rel=0.1)
    assert all(p.requires_grad for p in module.parameters())


def test_targets_without_variation_leave_the_network_with_nothing_to_fit():
    x = np.random.RandomState(0).randn(10, 2)
    fitted = fit_network(started(2, 4, 1), Rows.of(x, np.zeros(10), np.ones(10)), max_iter=30)
    assert isinstance(fitted, FittedNetwork)
    assert np.abs(fitted.network.outputs(x)).max() < 0.1
