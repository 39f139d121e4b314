"""What a run is made of, and how it is read from YAML and from the command line.

Reading takes two stages. First the parts (loss, optimizer, ...) are chosen by class; then the arguments of exactly
these classes make up a parser, so that every setting is typed and a wrong one is named.
"""

import argparse
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser

import revgn
from revgn._names import unknown_name
from revgn.experiments.errors import ConfigError
from revgn.experiments.kinds import KINDS, OPTIMIZER, SOLVER
from revgn.experiments.messages import one_line
from revgn.experiments.shipped import find_config as find_config

_COUNTS = (  # settings of `Training` that are at least 1 where they are given
    "epochs",
    "batch_size",
    "evaluate_every",
    "checkpoint_every",
    "switch_after",
    "probe_rows",
    "diagnose_every",
)
_MODEL_PROVIDED = {"in_features", "out_features", "generator", "device", "dtype"}


@dataclass(frozen=True)
class Training:
    """How a run goes.

    Args:
        epochs: passes over the training rows.
        batch_size: rows in a step; null for all of them.
        drop_last: leave out the rows that do not fill a last batch; the order changes with every epoch.
        seed: of the initial weights and of the order of the rows.
        dtype: of parameters and data.
        device: auto takes a GPU where there is one.
        evaluate_every: epochs from one evaluation on the test rows to the next.
        checkpoint_every: epochs from one checkpoint to the next.
        loss_after_step: also record the loss on the same batch after every step; costs a forward pass.
        schedule_by: whether the scheduler counts epochs or steps.
        switch_after: epochs after which the second optimizer takes over from the first.
        diagnostics: what to record of the network beside its loss: its tangent kernel, the representations after each
            block, the weights of each half-coupling, how exact Gauss-Newton is in each of them.
        probe_rows: of the test part, the first ones, on which kernel and representations are taken; all if it has less.
        diagnose_every: epochs from one diagnosis to the next.
    """

    epochs: int = 10
    batch_size: int | None = None
    drop_last: bool = True
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    evaluate_every: int = 1
    checkpoint_every: int = 1
    loss_after_step: bool = True
    schedule_by: Literal["epoch", "step"] = "epoch"
    switch_after: int | None = None
    diagnostics: list[Literal["ntk", "cka", "weights", "exactness"]] = field(default_factory=list)
    probe_rows: int = 128
    diagnose_every: int = 1

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if "cka" in self.diagnostics and self.probe_rows < 4:
            raise ConfigError(f"cka compares at least 4 rows, got {self.probe_rows}; raise probe_rows")
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative, got {self.seed}")


@dataclass(frozen=True)
class Part:
    """A class by name, and its arguments."""

    class_path: str
    init_args: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run.

    Args:
        data: arguments of `revgn.data.load`.
        model: arguments of `revgn.RevMLP`, less those that the data decide.
        loss, optimizer, solver, scheduler: classes of `KINDS`; the solver is that of the optimizer.
        second_optimizer: takes over after `training.switch_after` epochs, with its own default solver; None for none.
        training: how the run goes.

    Raises:
        ConfigError: a second optimizer without an epoch to begin after, or the other way round.
    """

    data: Mapping[str, Any]
    model: Mapping[str, Any]
    loss: Part
    optimizer: Part
    solver: Part | None
    scheduler: Part | None
    training: Training
    second_optimizer: Part | None = None

    def __post_init__(self) -> None:
        if (self.second_optimizer is None) != (self.training.switch_after is None):
            raise ConfigError(
                f"second_optimizer is {self.second_optimizer and self.second_optimizer.class_path} and switch_after is "
                f"{self.training.switch_after}; give both to switch, or neither"
            )

    def as_dict(self) -> dict[str, Any]:
        """The settings as they stand in YAML, defaults included."""
        optimizer = asdict(self.optimizer)
        if self.solver:
            optimizer["init_args"]["solver"] = asdict(self.solver)
        settings = {
            "data": dict(self.data),
            "model": dict(self.model),
            "loss": asdict(self.loss),
            "optimizer": optimizer,
            "second_optimizer": asdict(self.second_optimizer) if self.second_optimizer else None,
            "scheduler": asdict(self.scheduler) if self.scheduler else None,
            **asdict(self.training),
        }
        return yaml.safe_load(yaml.dump(settings, Dumper=_PlainDumper, sort_keys=False))


class _PlainDumper(yaml.SafeDumper):
    """Writes what YAML has no word for by what it has: a tuple as a list, a path as a string."""


_PlainDumper.add_representer(tuple, yaml.SafeDumper.represent_list)
_PlainDumper.add_multi_representer(Path, lambda dumper, path: dumper.represent_str(str(path)))


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        ConfigError: it is not valid YAML, or not a list of settings.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {one_line(str(error))}") from error
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise ConfigError(f"{path} holds no settings; expected lines such as 'epochs: 10'")
    return settings


def parse(settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """The typed configuration of settings as they stand in YAML, and of overrides such as `--optimizer.lr 0.5`.

    Raises:
        ConfigError: an unknown setting or class, a wrong type, a value out of range.
    """
    parts, plain, rest = _choose_parts(settings, overrides)
    parser = _shared_parser(tuple(parts.items()))
    known = set(parser.get_defaults().keys())
    _require_known(_leaves(plain, known), known)
    _require_known((word[2:].partition("=")[0] for word in rest if word.startswith("--")), {*known, *KINDS})
    try:
        parsed = parser.parse_args(list(rest), namespace=parser.parse_object(plain, defaults=True, _skip_required=True))
    except (argparse.ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(one_line(str(error))) from error
    return _typed(parts, parsed.as_dict())


def settings_help(settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> str:
    """Every setting of the classes that this configuration uses, with its type, its value and what it means."""
    parts, plain, _ = _choose_parts(settings, overrides)
    parser = _parser(parts)
    known = set(parser.get_defaults().keys())
    _require_known(_leaves(plain, known), known)
    parser.set_defaults(vars(parser.parse_object(plain, _skip_required=True).as_flat()))
    text = parser.format_help()
    return text.partition("Show this help message and exit.\n")[2].strip("\n")


def _choose_parts(
    settings: Mapping[str, Any], overrides: Sequence[str]
) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """The class chosen for each kind of part, the settings with the parts' arguments only, and the other overrides."""
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in KINDS:
        chooser.add_argument(f"--{name}")
    try:
        named, rest = chooser.parse_known_args(list(overrides))
    except argparse.ArgumentError as error:
        raise ConfigError(str(error)) from error
    chosen: dict[str, str] = {}
    plain = dict(settings)
    for name in KINDS:  # the solver after the optimizer, among whose arguments it stands
        group, _, key = name.rpartition(".")
        home: dict[str, Any] = plain.setdefault(group, {}) if group else plain
        part = _part(name, home.pop(key, None))
        override = getattr(named, name)
        if override is not None and (part is None or override != part.class_path):
            part = _part(name, None if override == "null" else override)
        if part:
            chosen[name] = part.class_path
            home[key] = dict(part.init_args)
    return chosen, plain, rest


def _part(name: str, value: Any) -> Part | None:
    """A part as YAML gives it: a class name, or class_path and init_args."""
    if value is None:
        return None
    if isinstance(value, str):
        return Part(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("class_path"), str):
        raise ConfigError(f"{name} is {value!r}; expected the name of a class, or class_path and init_args")
    _require_known((f"{name}.{key}" for key in value), {f"{name}.class_path", f"{name}.init_args"})
    arguments = value.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"{name}.init_args is {arguments!r}; expected lines such as 'lr: 1.0'")
    return Part(value["class_path"], arguments)


@functools.cache  # to make one takes as long as to parse with it, and a study has hundreds of runs
def _shared_parser(parts: tuple[tuple[str, str], ...]) -> ArgumentParser:
    return _parser(dict(parts))


def _parser(parts: Mapping[str, str]) -> ArgumentParser:
    """A parser of all settings, given the class of each part."""
    for name in ("loss", "optimizer"):
        if name not in parts:
            raise ConfigError(f"no {name} chosen; name one of {', '.join(KINDS[name].classes)}")
    optimizer = OPTIMIZER.find(parts["optimizer"])
    if SOLVER.name in parts and "solver" not in signature(optimizer).parameters:
        raise ConfigError(f"{optimizer.__name__} takes no solver, as GaussNewton does; leave {SOLVER.name} out")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(Training)
    parser.add_function_arguments(revgn.data.load, "data", skip={"dtype"})
    parser.add_class_arguments(revgn.RevMLP, "model", skip=set(_MODEL_PROVIDED))
    for name, class_path in parts.items():
        kind = KINDS[name]
        parser.add_class_arguments(kind.find(class_path), name, skip=set(kind.provided), fail_untyped=False)
    return parser


def _leaves(settings: Mapping[str, Any], known: Iterable[str], prefix: str = "") -> Iterator[str]:
    """The dotted names of all settings; a mapping is entered where settings are known within it."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        within = sorted(other for other in known if other.startswith(f"{name}."))
        if within and not isinstance(value, Mapping):
            raise ConfigError(f"{name} is {value!r}; expected settings within it, such as {within[0]}")
        if within:
            yield from _leaves(value, known, f"{name}.")
        elif value != {}:  # the arguments of a class that takes none
            yield name


def _require_known(names: Iterable[str], known: set[str]) -> None:
    for name in names:
        if name in known:
            continue
        group = name.rpartition(".")[0]
        siblings = [other for other in known if other.rpartition(".")[0] == group] if group else []
        groups = {other.partition(".")[0] for other in known}
        raise ConfigError(unknown_name("setting", name, siblings or groups))


def _typed(parts: Mapping[str, str], parsed: dict[str, Any]) -> RunConfig:
    optimizer = parsed["optimizer"]
    arguments = {
        "loss": parsed.get("loss", {}),
        "optimizer.solver": optimizer.pop("solver", {}),
        "optimizer": optimizer,
        "second_optimizer": parsed.get("second_optimizer", {}),
        "scheduler": parsed.get("scheduler", {}),
    }

    def part(name: str) -> Part | None:
        return Part(parts[name], arguments[name]) if name in parts else None

    return RunConfig(
        data=parsed["data"],
        model=parsed["model"],
        loss=Part(parts["loss"], arguments["loss"]),
        optimizer=Part(parts["optimizer"], optimizer),
        solver=part("optimizer.solver"),
        scheduler=part("scheduler"),
        training=Training(**{each.name: parsed[each.name] for each in fields(Training)}),
        second_optimizer=part("second_optimizer"),
    )
