"""What must be true of the two estimators beyond scikit-learn's own checks."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

import pandas as pd
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from revgn.estimators import GaussNewtonClassifier, GaussNewtonRegressor
from revgn.estimators import ensemble as shared

SMALL = {"n_estimators": 2, "hidden_layer_sizes": 6, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore:.*did not converge in max_iter")


def regressor(**options):
    return GaussNewtonRegressor(**(SMALL | {"max_iter": 15} | options))


def classifier(**options):
    return GaussNewtonClassifier(**(SMALL | {"max_iter": 30} | options))


BOTH = pytest.mark.parametrize("make", [regressor, classifier])


@pytest.fixture
def table():
    random = np.random.RandomState(0)
    x = random.randn(60, 3)
    return x, np.sin(x[:, 0]) + x[:, 1] + 0.2 * random.randn(60)


@pytest.fixture
def irises():
    x, y = load_iris(return_X_y=True)
    rows = np.random.RandomState(0).permutation(150)[:90]
    return x[rows], y[rows]


def of(make, table):
    """The table, with classes for a classifier."""
    x, y = table
    return (x, y) if make is regressor else (x, (y > 0.3).astype(int))


def test_predictions_follow_shifts_and_units_of_inputs_and_targets(table):
    x, y = table
    new = np.random.RandomState(1).randn(10, 3)
    mean, std = regressor().fit(x, y).predict(new, return_std=True)
    units, shift = np.array([1e3, 1e-5, 7.0]), np.array([1.0, -3.0, 0.0])
    other, other_std = regressor().fit(units * x + shift, 5 * y - 2).predict(units * new + shift, return_std=True)
    np.testing.assert_allclose(other, 5 * mean - 2, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(other_std, 5 * std, rtol=1e-3)


@pytest.mark.parametrize("unit", [1e-200, 1e160])
def test_targets_of_extreme_units_are_fitted(table, unit):
    x, y = table
    mean, std = regressor().fit(x, y).predict(x, return_std=True)
    other, other_std = regressor().fit(x, unit * y).predict(x, return_std=True)
    np.testing.assert_allclose(other / unit, mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(other_std / unit, std, rtol=1e-3)


@BOTH
def test_constant_columns_change_nothing(make, table):
    x, y = of(make, table)
    wide = np.column_stack((x, np.full(60, 3.7)))
    model = make().fit(wide, y)
    assert model.score(wide, y) > 0.7


def test_each_output_is_fitted_as_if_it_were_alone(table):
    x, y = table
    both = np.column_stack((y, np.cos(x[:, 2])))
    model = regressor().fit(x, both)
    mean, std = model.predict(x, return_std=True)
    assert mean.shape == std.shape == (60, 2)
    assert model.noise_.shape == (2,)
    for output in range(2):
        alone = regressor().fit(x, both[:, output])
        one, one_std = alone.predict(x, return_std=True)
        np.testing.assert_allclose(mean[:, output], one, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(std[:, output], one_std, rtol=1e-3)


def test_intervals_cover_most_held_out_rows_and_widen_far_away():
    random = np.random.RandomState(0)
    x = random.uniform(-2, 2, (400, 1))
    y = np.sin(2 * x[:, 0]) + 0.3 * random.randn(400)
    model = regressor(hidden_layer_sizes=16, max_iter=40).fit(x[:120], y[:120])
    mean, std = model.predict(x[120:], return_std=True)
    assert 0.8 <= (np.abs(mean - y[120:]) <= 1.645 * std).mean() <= 0.97
    assert model.noise_ == pytest.approx(0.3, rel=0.25)
    _, far = model.predict([[8.0]], return_std=True)
    assert far[0] > 1.5 * np.median(std)


@BOTH
def test_weights_count_rows(make, table):
    x, y = of(make, table)
    weight = np.random.RandomState(1).randint(0, 3, 60)
    # Chunks that hold all rows: only then are weights more than an average.
    options = {"chunk_rows": 200} | ({"damping": 0.5} if make is regressor else {})
    weighted = make(**options).fit(x, y, sample_weight=weight)
    repeated = make(**options).fit(np.repeat(x, weight, axis=0), np.repeat(y, weight))
    if make is regressor:
        np.testing.assert_allclose(weighted.predict(x), repeated.predict(x), rtol=1e-5, atol=1e-7)
    else:
        np.testing.assert_allclose(weighted.predict_proba(x), repeated.predict_proba(x), rtol=1e-5, atol=1e-7)


@BOTH
def test_weights_that_are_shares_are_taken_relative_to_their_mean(make, table):
    x, y = of(make, table)
    share = np.full(60, 1 / 60)
    np.testing.assert_allclose(make().fit(x, y, share).predict(x), make().fit(x, y).predict(x), rtol=1e-4, atol=1e-6)


def test_class_weights_are_sample_weights(irises):
    x, y = irises
    by_class = {0: 1.0, 1: 3.0, 2: 2.0}
    one = classifier(class_weight=by_class).fit(x, y)
    other = classifier().fit(x, y, sample_weight=np.array([by_class[label] for label in y]))
    np.testing.assert_allclose(one.predict_proba(x), other.predict_proba(x), rtol=1e-10)
    balanced = classifier(class_weight="balanced").fit(x, y)
    assert balanced.score(x, y) > 0.9


def test_probabilities_are_probabilities_and_agree_with_predictions(irises):
    x, y = irises
    names = np.array(["setosa", "versicolor", "virginica"])
    model = classifier().fit(x, names[y])
    shares = model.predict_proba(x)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert shares.min() > 0
    assert (model.predict(x) == model.classes_[shares.argmax(1)]).all()
    assert (model.decision_function(x).argmax(1) == shares.argmax(1)).all()
    assert model.score(x, names[y]) > 0.93
    two = classifier().fit(x, y == 2)
    assert two.decision_function(x).shape == (90,)
    assert two.predict(x).dtype == bool


@BOTH
def test_many_rows_are_dealt_out_to_the_networks(make, table):
    x, y = of(make, table)
    assert make(chunk_rows=40).fit(x, y).score(x, y) > 0.6
    with pytest.raises(ValueError, match="HistGradientBoosting"):
        make(n_estimators=1, chunk_rows=5, max_iter=2).fit(x, y)


@BOTH
def test_the_same_random_state_gives_the_same_fit_on_any_number_of_processes(make, table):
    x, y = of(make, table)
    values = (lambda m: m.predict(x)) if make is regressor else (lambda m: m.predict_proba(x))
    one = values(make().fit(x, y))
    np.testing.assert_array_equal(one, values(make().fit(x, y)))
    np.testing.assert_allclose(one, values(make(n_jobs=2).fit(x, y)), rtol=1e-9)
    assert not np.array_equal(one, values(make(random_state=1).fit(x, y)))


@BOTH
def test_pickles_predict_the_same_and_clones_not_at_all(make, table):
    x, y = of(make, table)
    model = make().fit(x, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    other = clone(model)
    with pytest.raises(NotFittedError):
        other.predict(x)


@BOTH
def test_columns_have_names_where_the_table_has(make, table):
    x, y = of(make, table)
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    model = make().fit(frame, pd.Series(y))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.n_features_in_ == 3
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["c", "b", "a"]])


@BOTH
def test_sparse_and_missing_values_are_refused_in_words(make, table):
    x, y = of(make, table)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        make().fit(sparse.csr_array(x), y)
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        make().fit(x, y)


@BOTH
def test_one_row_is_refused(make, table):
    x, y = of(make, table)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        make().fit(x[:1], y[:1])
    with pytest.raises(ValueError, match="1 rows have a sample_weight above zero"):
        make().fit(x, y, sample_weight=np.eye(60)[0])


def test_one_class_is_refused(table):
    with pytest.raises(ValueError, match=r"y holds one class, \[1\]; expected at least two classes"):
        classifier().fit(table[0], np.ones(60, dtype=int))


def test_constant_targets_are_predicted(table):
    mean, std = regressor().fit(table[0], np.full(60, 4.0)).predict(table[0], return_std=True)
    np.testing.assert_allclose(mean, 4.0, atol=0.1)
    assert np.isfinite(std).all()


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_estimators": 0}, "n_estimators must be a whole number of at least 1, got 0"),
        ({"max_iter": 2.5}, "max_iter must be a whole number of at least 1, got 2.5"),
        ({"chunk_rows": 1}, "chunk_rows must be a whole number of at least 2, got 1"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes is empty"),
        ({"hidden_layer_sizes": (3, -1)}, "hidden_layer_sizes must be a whole number"),
        ({"damping": -1.0}, "damping must be .*a positive number, got -1.0"),
        ({"damping": "evidence"}, "damping must be .*a positive number, got 'evidence'"),
    ],
)
def test_parameters_out_of_range_are_refused_when_fitted(make, options, message, table):
    model = make(**options)
    with pytest.raises(ValueError, match=message):
        model.fit(*of(make, table))


@BOTH
def test_an_interrupted_fit_leaves_nothing_that_predicts(make, table, monkeypatch):
    x, y = of(make, table)
    model = make().fit(x, y)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shared, "_on_threads", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y)
    with pytest.raises(NotFittedError):
        model.predict(x)


@BOTH
def test_learnt_attributes_tell_how_the_fit_went(make, table):
    x, y = of(make, table)
    model = make().fit(x, y)
    assert 1 <= model.n_iter_ == len(model.loss_curve_)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    if make is regressor:
        assert 1 < model.effective_parameters_ < 60


@pytest.mark.filterwarnings("default:.*did not converge in max_iter")
def test_too_few_steps_are_warned_of(table):
    with pytest.warns(ConvergenceWarning, match=r"2 of 2 networks did not converge in max_iter=1 steps; raise it"):
        regressor(max_iter=1).fit(*table)


@BOTH
def test_pipelines_searches_and_processes_work(make, table):
    x, y = of(make, table)
    model = make_pipeline(StandardScaler(), make(n_estimators=1))
    name = model.steps[-1][0]
    found = GridSearchCV(model, {f"{name}__hidden_layer_sizes": [4, (4, 4)]}, cv=2).fit(x, y)
    assert found.best_score_ > 0.5
    assert (cross_val_score(model, x, y, cv=2, n_jobs=2) > 0.4).all()


def test_progress_is_printed_when_asked(table, capsys):
    regressor(verbose=10).fit(*table)
    said = capsys.readouterr()
    assert "Done" in said.out + said.err
