"""Regression and classification of tables by scikit-learn's conventions: needs the extra `[sklearn]`."""

try:
    import sklearn  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as error:
    raise ImportError(f"revgn.estimators needs scikit-learn: pip install 'revgn[sklearn]' ({error})") from error

from revgn.estimators.classifier import GaussNewtonClassifier as GaussNewtonClassifier
from revgn.estimators.regressor import GaussNewtonRegressor as GaussNewtonRegressor
from revgn.estimators.storage import load as load
from revgn.estimators.storage import save as save

__all__ = ["GaussNewtonClassifier", "GaussNewtonRegressor", "load", "save"]
