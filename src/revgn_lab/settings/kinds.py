"""The classes that a configuration can name: networks, losses, optimizers and their parts, schedulers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from revgn import GaussNewton, control, dense, losses, solvers
from revgn.control import Control
from revgn.losses import GaussNewtonLoss
from revgn.naming import unknown_name
from revgn.nn import RevMLP
from revgn.solvers import Solver
from revgn_lab.errors import ConfigError
from revgn_lab.settings.config import PLAIN_MODEL
from revgn_lab.settings.networks import MLP, ConvNet


@dataclass(frozen=True)
class Kind:
    """One kind of part.

    Args:
        name: the setting that chooses it, which is also what messages call it.
        base: the class that all of its kind descend from.
        classes: those that short names stand for.
        provided: arguments that the run provides or that make no sense in a configuration.
        default: the class that is meant where none is named, and whose arguments may stand alone; None for none.
    """

    name: str
    base: type
    classes: Mapping[str, type]
    provided: frozenset[str] = frozenset()
    default: str | None = None

    def find(self, class_path: str) -> type:
        """The class of that short name, or a class of the user's own by its import path.

        Raises:
            ConfigError: there is none, or it is of another kind.
        """
        module, _, short = class_path.rpartition(".")
        if not module:
            if short not in self.classes:
                raise ConfigError(unknown_name(self.name, class_path, self.classes))
            return self.classes[short]
        try:
            found: Any = getattr(import_module(module), short)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{self.name} {class_path!r} cannot be imported ({error}); check the path") from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise ConfigError(f"{class_path} is not a {self.base.__name__}, as every {self.name} must be")
        return found


def _subclasses(module: ModuleType, base: type) -> dict[str, type]:
    found: Iterable[Any] = vars(module).values()
    return {c.__name__: c for c in found if isinstance(c, type) and issubclass(c, base) and c is not base}


_OPTIMIZERS = (
    GaussNewton,
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Muon,
    torch.optim.LBFGS,
)
# Those whose arguments are numbers and words; ReduceLROnPlateau would need a metric, LambdaLR a function.
_SCHEDULERS = (
    lr_scheduler.ConstantLR,
    lr_scheduler.CosineAnnealingLR,
    lr_scheduler.CosineAnnealingWarmRestarts,
    lr_scheduler.ExponentialLR,
    lr_scheduler.LinearLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.OneCycleLR,
    lr_scheduler.PolynomialLR,
    lr_scheduler.StepLR,
)

MODEL = Kind(
    "model",
    nn.Module,
    {PLAIN_MODEL: RevMLP, "MLP": MLP, "ConvNet": ConvNet},
    frozenset({"in_features", "out_features", "generator", "device", "dtype"}),
    default=PLAIN_MODEL,
)
LOSS = Kind("loss", GaussNewtonLoss, _subclasses(losses, GaussNewtonLoss))
OPTIMIZER = Kind(
    "optimizer",
    torch.optim.Optimizer,
    {c.__name__: c for c in _OPTIMIZERS} | {"DenseGaussNewton": dense.GaussNewton},
    frozenset({"model", "loss", "params", "solver", "control", "capturable", "differentiable", "maximize"}),
)
SOLVER = Kind("optimizer.solver", Solver, _subclasses(solvers, Solver))
CONTROL = Kind("optimizer.control", Control, _subclasses(control, Control))
SCHEDULER = Kind(
    "scheduler",
    lr_scheduler.LRScheduler,
    {c.__name__: c for c in _SCHEDULERS},
    frozenset({"optimizer", "last_epoch"}),
)
SECOND_OPTIMIZER = replace(OPTIMIZER, name="second_optimizer")
KINDS: Mapping[str, Kind] = MappingProxyType(
    {kind.name: kind for kind in (MODEL, LOSS, OPTIMIZER, SOLVER, CONTROL, SECOND_OPTIMIZER, SCHEDULER)}
)
