import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from revgn.estimators import GaussNewtonClassifier, GaussNewtonRegressor, load, save


@pytest.mark.parametrize("names", [[0, 1, 2], ["x", "y", "z"], [2.0, 3.0, 4.0]])
def test_a_classifier_comes_back_and_says_the_same(names, tmp_path):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 3)), np.array(names)[random.integers(0, 3, 60)]
    model = GaussNewtonClassifier(n_estimators=2, hidden_layer_sizes=5, random_state=0).fit(x, y)
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.get_params() == model.get_params()


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_regressor_comes_back_with_its_error_bars(outputs, tmp_path):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 3)), random.normal(size=(40, outputs))
    model = GaussNewtonRegressor(n_estimators=2, hidden_layer_sizes=(4,), random_state=0).fit(x, y)
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    for ours, theirs in zip(again.predict(x, return_std=True), model.predict(x, return_std=True), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_has_no_form_in_the_file_is_refused(tmp_path):
    x = np.arange(12.0).reshape(6, 2)
    model = GaussNewtonRegressor(n_estimators=1, max_iter=2, random_state=np.random.RandomState(0))
    with pytest.warns(ConvergenceWarning):
        model.fit(x, x[:, 0] ** 2)
    with pytest.raises(TypeError, match="random_state is a RandomState, which no file of arrays and plain values"):
        save(model, tmp_path / "m.safetensors")


def test_what_has_learnt_nothing_is_not_stored(tmp_path):
    with pytest.raises(NotFittedError):
        save(GaussNewtonRegressor(), tmp_path / "m.safetensors")


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", bytes(200)])
def test_another_file_is_refused(content, tmp_path):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"is no estimator that revgn.estimators.save has written"):
        load(tmp_path / "m.safetensors")
