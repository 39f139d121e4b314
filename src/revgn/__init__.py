"""Exact Gauss-Newton training of deep reversible networks.

Public names are imported on first use, so that `import revgn` costs nothing and `revgn --help` answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revgn import data, dense, diagnostics, losses, nn, right_inverses, solvers
    from revgn.linear.jacobian import Jacobian
    from revgn.nn.mlp import RevMLP
    from revgn.optim.gauss_newton import GaussNewton
    from revgn.optim.report import Report

__version__ = "0.1.0"
__all__ = ["GaussNewton", "Jacobian", "Report", "RevMLP"]
__all__ += ["data", "dense", "diagnostics", "losses", "nn", "right_inverses", "solvers"]

_HOMES = {"GaussNewton": "optim", "Jacobian": "linear", "Report": "optim", "RevMLP": "nn"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"revgn.{_HOMES[name]}"), name)
    if name in __all__ or name in {"linear", "optim", "experiments", "estimators"}:
        return import_module(f"revgn.{name}")
    raise AttributeError(f"module 'revgn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
