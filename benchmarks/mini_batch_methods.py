"""The methods that `mini_batch` compares, and the space of settings that each may choose from.

What is not in a space is as its authors have it: SOAP (Vyas et al. 2024, arXiv 2409.11321) with the defaults of the
package pytorch_optimizer, Muon with torch's, at Adam's scale of steps (`adjust_lr_fn="match_rms_adamw"`). The spaces
were laid around what a few runs of one epoch did well with on validation rows.
"""

import functools
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import problems
import revgn
from baselines import FOOF, NewtonMuon
from epochs import Learner
from revgn.losses import CrossEntropyLoss
from revgn.solvers import Cholesky
from spaces import LogUniform, OneOf, Setting, Space


@dataclass(frozen=True)
class Method:
    """How to train a network with a setting, and the space of settings.

    Attributes:
        reversible: whether it needs a reversible network.
        package: what has to be installed for it.
    """

    start: Callable[[nn.Module, Setting], Learner]
    space: Space
    reversible: bool = False
    package: str | None = None

    @property
    def installed(self) -> bool:
        return self.package is None or importlib.util.find_spec(self.package) is not None


def by_gradient(make: Callable[[nn.Module, Setting], list[Optimizer]], model: nn.Module, setting: Setting) -> Learner:
    """Training by autograd with the optimizers that `make` gives."""
    optimizers = make(model, setting)
    forward = problems.plain_forward(model) if isinstance(model, revgn.RevMLP) else model

    def step(inputs: Tensor, classes: Tensor) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()
        functional.cross_entropy(forward(inputs), classes, label_smoothing=setting["smoothing"]).backward()
        for optimizer in optimizers:
            optimizer.step()

    return Learner(optimizers, step, model)


def averaged(start: Callable[[nn.Module, Setting], Learner], model: nn.Module, setting: Setting) -> Learner:
    """What `start` trains; what is judged is the exponential moving average of the weights."""
    learner = start(model, setting)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(1 - setting["forgetting"]))

    def step(inputs: Tensor, classes: Tensor) -> None:
        learner.step(inputs, classes)
        average.update_parameters(model)

    return Learner(learner.optimizers, step, average)


def adam(model: nn.Module, setting: Setting) -> list[Optimizer]:
    return [Adam(model.parameters(), lr=setting["lr"], fused=True)]


def adamw(model: nn.Module, setting: Setting) -> list[Optimizer]:
    return [AdamW(model.parameters(), lr=setting["lr"], weight_decay=setting["weight_decay"], fused=True)]


def sgd(model: nn.Module, setting: Setting) -> list[Optimizer]:
    return [SGD(model.parameters(), lr=setting["lr"], momentum=0.9, nesterov=True, fused=True)]


def muon(model: nn.Module, setting: Setting) -> list[Optimizer]:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    options: dict[str, Any] = {"lr": setting["lr"], "weight_decay": setting["weight_decay"]}
    return [Muon(matrices, adjust_lr_fn="match_rms_adamw", **options), of_biases(model, setting)]


def newton_muon(model: nn.Module, setting: Setting) -> list[Optimizer]:
    options: dict[str, Any] = {name: setting[name] for name in ("lr", "damping", "weight_decay")}
    return [NewtonMuon(model, adjust_lr_fn="match_rms_adamw", **options), of_biases(model, setting)]


def of_biases(model: nn.Module, setting: Setting) -> Optimizer:
    """AdamW, whose updates are as large as Muon's with adjust_lr_fn="match_rms_adamw"."""
    return AdamW([p for p in model.parameters() if p.ndim != 2], lr=setting["lr"], weight_decay=0.0, fused=True)


def soap(model: nn.Module, setting: Setting) -> list[Optimizer]:
    from pytorch_optimizer import SOAP

    return [SOAP(model.parameters(), lr=setting["lr"], weight_decay=setting["weight_decay"])]


def foof(model: nn.Module, setting: Setting) -> list[Optimizer]:
    return [FOOF(model, lr=setting["lr"], damping=setting["damping"])]


def by_gauss_newton(options: Callable[[Setting], dict[str, Any]], model: nn.Module, setting: Setting) -> Learner:
    """Training by `revgn.GaussNewton` with these options, H = I."""
    loss = CrossEntropyLoss(label_smoothing=setting["smoothing"])
    optimizer = revgn.GaussNewton(model, loss, lr=setting["lr"], **options(setting))

    def step(inputs: Tensor, classes: Tensor) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that damped steps are not exact is known here
            optimizer.backward(inputs, classes)
        optimizer.step()

    return Learner([optimizer], step, model)


def reversible(setting: Setting) -> dict[str, Any]:
    """As it comes: every batch is solved on its own."""
    return {"right_inverse": "reversible"}


def running(setting: Setting) -> dict[str, Any]:
    """The adjoint with running curvature, of its own damping where none is chosen: FOOF without momentum."""
    damping: dict[str, Any] = {"damping": setting["damping"]} if "damping" in setting else {}
    return {"right_inverse": "adjoint", "solver": revgn.solvers.RunningCurvature(**damping)}


def spring(setting: Setting) -> dict[str, Any]:
    """The adjoint that solves each batch, damped, and remembers its direction instead of the curvature."""
    solver, momentum = Cholesky(damping=setting["damping"]), 1 - setting["forgetting"]
    return {"right_inverse": "adjoint", "solver": solver, "momentum": momentum, "spring": True}


SMOOTHING = {"smoothing": OneOf((0.0, 0.1))}
ADAPTIVE = {"lr": LogUniform(3e-4, 1e-2)} | SMOOTHING
DECAYED = ADAPTIVE | {"weight_decay": LogUniform(1e-3, 1e-1)}
CHEAP = {"batch": OneOf((256, 1024))}
ADJOINT, DEFAULT = "Adjoint", "Adjoint-default"
remembering = functools.partial(averaged, functools.partial(by_gauss_newton, running))
METHODS = {
    "Adam": Method(functools.partial(by_gradient, adam), ADAPTIVE | CHEAP),
    "AdamW-averaged": Method(
        functools.partial(averaged, functools.partial(by_gradient, adamw)),
        DECAYED | {"forgetting": LogUniform(0.01, 0.2)} | CHEAP,
    ),
    "SGD": Method(functools.partial(by_gradient, sgd), {"lr": LogUniform(0.005, 0.2)} | SMOOTHING | CHEAP),
    "Muon": Method(functools.partial(by_gradient, muon), DECAYED),
    "SOAP": Method(functools.partial(by_gradient, soap), DECAYED, package="pytorch_optimizer"),
    "FOOF": Method(
        functools.partial(by_gradient, foof),
        {"lr": LogUniform(0.01, 0.3), "damping": LogUniform(0.01, 1.0)} | SMOOTHING,
    ),
    "Newton-Muon": Method(functools.partial(by_gradient, newton_muon), DECAYED | {"damping": LogUniform(0.02, 1.0)}),
    "Reversible": Method(
        functools.partial(by_gauss_newton, reversible), {"lr": LogUniform(0.03, 1.0)} | SMOOTHING, reversible=True
    ),
    ADJOINT: Method(
        remembering,
        {"lr": LogUniform(3.0, 30.0), "damping": LogUniform(0.03, 0.3), "forgetting": LogUniform(0.02, 0.2)}
        | SMOOTHING,
    ),
    # A space of one point, the same for both networks: RunningCurvature's defaults and the learning rate that its
    # docstring names, as large as the number of classes. They were chosen on these validation rows.
    DEFAULT: Method(remembering, {"lr": OneOf((10.0,)), "smoothing": OneOf((0.1,)), "forgetting": OneOf((0.05,))}),
    "SPRING": Method(
        functools.partial(by_gauss_newton, spring),
        {"lr": LogUniform(0.03, 1.0), "damping": LogUniform(1e-3, 1.0), "forgetting": LogUniform(0.03, 0.5)}
        | SMOOTHING,
    ),
}
OURS = (ADJOINT, DEFAULT)
OF_REVGN = (*OURS, "Reversible", "SPRING")
