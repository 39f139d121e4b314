"""Exact Gauss-Newton training of any PyTorch module.

Public names are imported on first use, so that `import revgn` costs nothing and `revgn --help` answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revgn import control, dense, diagnostics, losses, nn, parallel, right_inverses, solvers
    from revgn.fitting.fit import fit
    from revgn.fitting.result import Fit
    from revgn.linear.jacobian import Jacobian
    from revgn.nn.conv import RevConv
    from revgn.nn.mixer import RevMixer
    from revgn.nn.mlp import RevMLP
    from revgn.optim.gauss_newton import GaussNewton
    from revgn.optim.levenberg_marquardt import LevenbergMarquardt
    from revgn.optim.step_report import Report

__version__ = "0.2.0"
__all__ = [
    "Fit",
    "GaussNewton",
    "Jacobian",
    "LevenbergMarquardt",
    "Report",
    "RevConv",
    "RevMLP",
    "RevMixer",
    "control",
    "dense",
    "diagnostics",
    "fit",
    "losses",
    "nn",
    "parallel",
    "right_inverses",
    "solvers",
]

_HOMES = {
    "GaussNewton": "revgn.optim.gauss_newton",
    "LevenbergMarquardt": "revgn.optim.levenberg_marquardt",
    "Fit": "revgn.fitting.result",
    "Jacobian": "revgn.linear.jacobian",
    "Report": "revgn.optim.step_report",
    "RevConv": "revgn.nn.conv",
    "RevMLP": "revgn.nn.mlp",
    "RevMixer": "revgn.nn.mixer",
    "fit": "revgn.fitting.fit",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in __all__ or name in {"estimators", "linear", "naming", "optim"}:
        return import_module(f"revgn.{name}")
    raise AttributeError(f"module 'revgn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
