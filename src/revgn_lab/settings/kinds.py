"""The classes that a configuration can name: networks, losses, optimizers and their parts, schedulers."""

import functools
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from revgn import GaussNewton, control, dense, losses, right_inverses, solvers
from revgn.control import Control
from revgn.losses import GaussNewtonLoss
from revgn.naming import unknown_name
from revgn.nn import RevMLP
from revgn.right_inverses import RightInverse
from revgn.solvers import Solver
from revgn_lab.errors import ConfigError
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
        """The class of that short name, or one of the user's own: "package.module.Name", or "file.py:Name".

        Raises:
            ConfigError: there is none, or it is of another kind.
        """
        if class_path in self.classes:
            return self.classes[class_path]
        try:
            found = _imported(class_path)
        except Exception as error:  # whatever the user's own module raises
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(
                f"{self.name} {class_path!r} cannot be imported ({reason}); give package.module.Name or file.py:Name"
            ) from error
        if found is None:
            raise ConfigError(unknown_name(self.name, class_path, self.classes))
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise ConfigError(f"{class_path} is not a {self.base.__name__}, as every {self.name} must be")
        return found


def _imported(class_path: str) -> Any:
    """What a path names; None if it is no path but a short name."""
    file, colon, name = class_path.rpartition(":")
    if colon and file.endswith(".py"):
        return getattr(_module(Path(file).resolve()), name)
    module, _, name = class_path.rpartition(".")
    return getattr(import_module(module), name) if module else None


@functools.cache  # a class must be the same one each time it is named
def _module(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"revgn_lab_{path.stem}_{zlib.crc32(bytes(path)):08x}", path)
    assert spec is not None  # a path that ends in .py has a loader,
    assert spec.loader is not None  # whether there is a file or not
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where pickle and dataclasses look for it
    spec.loader.exec_module(module)
    return module


def _subclasses(module: ModuleType, base: type) -> dict[str, type]:
    found: Iterable[Any] = vars(module).values()
    return {c.__name__: c for c in found if isinstance(c, type) and issubclass(c, base) and c is not base}


_OPTIMIZERS = (GaussNewton, torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Muon, torch.optim.LBFGS)
# Those whose arguments are numbers and words; ReduceLROnPlateau would need a metric, LambdaLR a function.
_SCHEDULERS = (
    *("ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "ExponentialLR", "LinearLR"),
    *("MultiStepLR", "OneCycleLR", "PolynomialLR", "StepLR"),
)

MODEL = Kind(
    "model",
    nn.Module,
    {"RevMLP": RevMLP, "MLP": MLP, "ConvNet": ConvNet},
    frozenset({"in_features", "out_features", "generator", "device", "dtype"}),
    default="RevMLP",
)
LOSS = Kind("loss", GaussNewtonLoss, _subclasses(losses, GaussNewtonLoss))
OPTIMIZER = Kind(
    "optimizer",
    torch.optim.Optimizer,
    {c.__name__: c for c in _OPTIMIZERS} | {"DenseGaussNewton": dense.GaussNewton},
    frozenset(
        {"model", "loss", "params", "right_inverse", "solver", "control", "group"}
        | {"capturable", "differentiable", "maximize"}
    ),
)
RIGHT_INVERSE = Kind(
    "optimizer.right_inverse",
    RightInverse,
    {"reversible": right_inverses.Reversible, "adjoint": right_inverses.Adjoint}
    | {"moore-penrose": right_inverses.MoorePenrose}
    | _subclasses(right_inverses, RightInverse),
)
SOLVER = Kind("optimizer.solver", Solver, _subclasses(solvers, Solver))
CONTROL = Kind("optimizer.control", Control, _subclasses(control, Control))
SCHEDULER = Kind(
    "scheduler",
    lr_scheduler.LRScheduler,
    {name: getattr(lr_scheduler, name) for name in _SCHEDULERS},
    frozenset({"optimizer", "last_epoch"}),
)
SECOND_OPTIMIZER = replace(OPTIMIZER, name="second_optimizer")
KINDS: Mapping[str, Kind] = MappingProxyType(
    {kind.name: kind for kind in (MODEL, LOSS, OPTIMIZER, RIGHT_INVERSE, SOLVER, CONTROL, SECOND_OPTIMIZER, SCHEDULER)}
)
