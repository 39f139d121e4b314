"""Rows that networks have not seen: who leaves out which, and how sure they say that networks may be."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.datasets import load_iris

from revgn.estimators import GaussNewtonClassifier
from revgn.estimators.held_out import HeldOut, folds
from revgn.estimators.perceptron import Network


def test_folds_are_of_equal_size_and_equal_rows_belong_to_one():
    random = np.random.RandomState(0)
    x = random.standard_normal((48, 3))
    found = folds(np.concatenate((x, x[::-1])), 8, random)
    assert (found[:48] == found[48:][::-1]).all()
    assert (np.bincount(found) == 12).all()


def test_folds_do_not_depend_on_the_order_of_the_rows():
    x = np.random.RandomState(0).standard_normal((50, 3))
    order = np.random.RandomState(1).permutation(50)
    first, second = (folds(each, 8, np.random.RandomState(2)) for each in (x, x[order]))
    assert (first[order] == second).all()


def test_of_few_rows_none_is_left_out():
    assert (folds(np.arange(15.0)[:, None], 8, np.random.RandomState(0)) == -1).all()
    assert (folds(np.zeros((100, 1)), 8, np.random.RandomState(0)) == -1).all()


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_is_by_how_much_networks_are_too_sure(factor):
    """Classes are drawn from the probabilities of logits x W; a network gives a multiple of them."""
    random = np.random.RandomState(0)
    x, weights = random.standard_normal((20_000, 4)), random.standard_normal((3, 4))
    chances = softmax(x @ weights.T, axis=1)
    classes = (random.uniform(size=(len(x), 1)) > chances.cumsum(1)).sum(1)
    weight = random.uniform(0.5, 2.0, len(x))
    rows = HeldOut(x, classes, weight, np.arange(len(x)) % 2)
    networks = [Network((factor * weights,), (np.zeros(3),))] * 2
    found, loss = rows.temperature(networks)
    assert found == pytest.approx(factor, rel=0.05)
    of_class = log_softmax(x @ weights.T * factor / found, axis=1)[np.arange(len(x)), classes]
    assert loss == pytest.approx(-np.average(of_class, weights=weight))


def test_networks_are_fitted_without_the_rows_that_they_leave_out():
    x = np.arange(32.0)[:, None]
    rows = HeldOut(x, np.arange(32) % 2, np.ones(32), np.arange(32) % 8)
    assert sorted(rows.examples(3).inputs[:, 0].tolist()) == [i for i in range(32) if i % 8 != 3]


def test_the_classifier_says_what_was_chosen():
    x, y = load_iris(return_X_y=True)
    model = GaussNewtonClassifier(n_estimators=3, max_iter=20, random_state=0).fit(x, y)
    assert model.damping_ in (0.1, 1.0, 10.0)
    assert 0.05 < model.temperature_ < 20
    given = GaussNewtonClassifier(n_estimators=1, max_iter=5, damping=0.3, random_state=0).fit(
        x[:15], y[:15] + np.arange(15) % 2
    )
    assert (given.damping_, given.temperature_) == (0.3, 1.0)
