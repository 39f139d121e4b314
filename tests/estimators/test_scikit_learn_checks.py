"""scikit-learn's own checks of an estimator, all of them, and no failure is expected."""

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from revgn.estimators import GaussNewtonClassifier, GaussNewtonRegressor

# Small enough to take seconds: what is checked is the same. With defaults the checks pass too, in some ten minutes.
QUICK = {"hidden_layer_sizes": 8, "max_iter": 20}
# So few steps are not expected to converge.
pytestmark = pytest.mark.filterwarnings("ignore:.*did not converge in max_iter")


@parametrize_with_checks(
    [GaussNewtonRegressor(n_estimators=2, **QUICK), GaussNewtonClassifier(n_estimators=1, **QUICK)]
)
def test_keeps_scikit_learn_conventions(estimator, check):
    check(estimator)
