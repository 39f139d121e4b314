"""How the configuration of a run is read from YAML and from the command line.

Reading takes two stages. First the parts (model, loss, optimizer, ...) are chosen by class; then the arguments of
exactly these classes make up a parser, so that every setting is typed and a wrong one is named.
"""

import argparse
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

import revgn_lab.data
from revgn.naming import unknown_name
from revgn_lab.errors import ConfigError
from revgn_lab.settings.config import Part, RunConfig, Training
from revgn_lab.settings.kinds import CONTROL, KINDS, OPTIMIZER, SOLVER
from revgn_lab.settings.messages import one_line


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
    for name in KINDS:  # solver and control after the optimizer, among whose arguments they stand
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
    """A part as YAML gives it: a class name, or class_path and init_args; of the default class arguments alone."""
    default = KINDS[name].default
    if default and (value is None or (isinstance(value, Mapping) and "class_path" not in value)):
        return Part(default, value or {})
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
    for kind in (SOLVER, CONTROL):
        own = kind.name.rpartition(".")[2]
        if kind.name in parts and own not in signature(optimizer).parameters:
            raise ConfigError(f"{optimizer.__name__} takes no {own}, as GaussNewton does; leave {kind.name} out")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(Training)
    parser.add_function_arguments(revgn_lab.data.load, "data", skip={"dtype"})
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
        "optimizer.solver": optimizer.pop("solver", {}),
        "optimizer.control": optimizer.pop("control", {}),
        "optimizer": optimizer,
        "second_optimizer": parsed.get("second_optimizer", {}),
        "scheduler": parsed.get("scheduler", {}),
    }

    def part(name: str) -> Part | None:
        return Part(parts[name], arguments[name]) if name in parts else None

    return RunConfig(
        data=parsed["data"],
        model=Part(parts["model"], parsed.get("model", {})),
        loss=Part(parts["loss"], parsed.get("loss", {})),
        optimizer=Part(parts["optimizer"], optimizer),
        solver=part("optimizer.solver"),
        control=part("optimizer.control"),
        scheduler=part("scheduler"),
        training=Training(**{each.name: parsed[each.name] for each in fields(Training)}),
        second_optimizer=part("second_optimizer"),
    )
