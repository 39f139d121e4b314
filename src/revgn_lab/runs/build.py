"""From a configuration to the objects that are trained."""

import functools
from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

import revgn_lab.data
from revgn import GaussNewton
from revgn.losses import CrossEntropyLoss, GaussNewtonLoss, MSELoss, PoissonNLLLoss, Robust
from revgn_lab.data import Dataset
from revgn_lab.errors import ConfigError
from revgn_lab.runs.several_processes import share
from revgn_lab.runs.training.training_module import Switch, TrainingModule
from revgn_lab.settings.config import Part, RunConfig
from revgn_lab.settings.kinds import KINDS, LOSS, MODEL, OPTIMIZER, SCHEDULER, SECOND_OPTIMIZER

_OF_QUANTITIES = (MSELoss, PoissonNLLLoss, Robust)


def build_data(config: RunConfig) -> Dataset:
    """The data set, its targets in the form that the loss takes.

    Raises:
        DataError: it cannot be had as asked.
        ConfigError: the loss has no use for its targets.
    """
    dataset = _load(tuple(sorted(config.data.items())), config.training.dtype)
    if dataset.num_classes is None and not issubclass(LOSS.find(config.parts[LOSS.name].class_path), _OF_QUANTITIES):
        raise ConfigError(f"{dataset.name} has quantities, not classes, as targets; use --loss MSELoss")
    return dataset


def loss_targets(targets: Tensor, classes: int | None, *, loss: GaussNewtonLoss, dtype: torch.dtype) -> Tensor:
    """Targets as the loss takes them: class indices for cross-entropy, one-hot vectors for any other loss."""
    return targets if isinstance(loss, CrossEntropyLoss) else target_rows(targets, classes, dtype=dtype)


def target_rows(targets: Tensor, classes: int | None, *, dtype: torch.dtype) -> Tensor:
    """Targets as rows of numbers, (n, d_out): one-hot for classes, quantities as they are."""
    return targets if classes is None else nn.functional.one_hot(targets, classes).to(dtype)


def build_loss(config: RunConfig) -> GaussNewtonLoss:
    """The loss."""
    return _build(LOSS.name, config.parts[LOSS.name])


def build_module(
    config: RunConfig, dataset: Dataset, loss: GaussNewtonLoss, group: dist.ProcessGroup | None = None
) -> TrainingModule:
    """The network with its optimizers and schedulers, ready to train; all weights decided by the seed.

    Args:
        config: all settings.
        dataset: sizes and dtype of the network.
        loss: for optimizers that need it.
        group: of processes that share the rows of each batch; None for this one alone.

    Raises:
        ConfigError: arguments that do not go together.
    """
    scheduler = config.parts.get(SCHEDULER.name)
    try:
        model = _model(config, dataset)
        first = _optimizers(OPTIMIZER.name, config.parts, model, loss, group)
        second = _optimizers(SECOND_OPTIMIZER.name, config.parts, model, loss, group)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error
    return TrainingModule(
        model,
        loss,
        [*first, *second],
        [_build(SCHEDULER.name, scheduler, each) for each in (*first, *second)] if scheduler else [],
        switch=Switch(config.training.switch_after, len(first)) if config.training.switch_after else None,
        classes=dataset.num_classes,
        schedule_by=config.training.schedule_by,
        loss_after_step=config.training.loss_after_step,
        controlled="optimizer.control" in config.parts,
        exactness="exactness" in config.training.diagnostics,
        mine=functools.partial(share, group),
    )


@functools.lru_cache(maxsize=1)  # the runs of a grid that share their data come one after another
def _load(arguments: tuple[tuple[str, Any], ...], dtype: str) -> Dataset:
    return revgn_lab.data.load(**dict(arguments), dtype=getattr(torch, dtype))


def _build(name: str, part: Part, *arguments: Any, **provided: Any) -> Any:
    try:
        return KINDS[name].find(part.class_path)(*arguments, **provided, **part.init_args)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} {part.class_path}: {error}") from error


def _model(config: RunConfig, dataset: Dataset) -> nn.Module:
    """The network, of the data's sizes and dtype; arguments that its class does not take are left out."""
    given = {
        "in_features": dataset.in_features,
        "out_features": dataset.out_features,
        "generator": torch.Generator().manual_seed(config.training.seed),
        "dtype": dataset.inputs.dtype,
    }
    part = config.parts[MODEL.name]
    takes = signature(MODEL.find(part.class_path)).parameters
    with torch.random.fork_rng(devices=[]):  # torch's own initialisation takes no generator
        torch.manual_seed(config.training.seed)
        model = _build(MODEL.name, part, **{name: value for name, value in given.items() if name in takes})
    return model.to(dataset.inputs.dtype)


def _optimizers(
    name: str, parts: Mapping[str, Part], model: nn.Module, loss: GaussNewtonLoss, group: dist.ProcessGroup | None
) -> list[Optimizer]:
    """The optimizer of that name if there is one, and a second one for parameters that it does not take."""
    if name not in parts:
        return []
    part = parts[name]
    kind = OPTIMIZER.find(part.class_path)
    if issubclass(kind, GaussNewton):
        inner = {key: each for key, each in parts.items() if key.startswith(f"{name}.")}
        chosen = {key.rpartition(".")[2]: _build(key, each) for key, each in inner.items()}
        return [_build(name, part, model, loss, **chosen, group=group)]
    if group is not None:
        raise ConfigError(f"--ranks spreads the steps of GaussNewton over processes; {part.class_path} runs in one")
    if not issubclass(kind, torch.optim.Muon):
        return [_build(name, part, model.parameters())]
    # Muon orthogonalises matrices; its authors leave all else to AdamW.
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim != 2]
    shared = {name: value for name, value in part.init_args.items() if name in ("lr", "weight_decay")}
    return [_build(name, part, matrices), *([torch.optim.AdamW(others, **shared)] if others else [])]
