"""How the configuration of a run is read: settings as they stand in YAML, and overrides of them by dotted name.

Reading takes two stages. First the parts (model, loss, optimizer, ...) are chosen by class; then the arguments of
exactly these classes make up a parser, so that every setting is typed and a wrong one is named.
"""

import argparse
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jsonargparse import ArgumentParser

import revgn_lab.data
from revgn.naming import unknown_name
from revgn_lab.errors import ConfigError
from revgn_lab.settings.config import Part, RunConfig, Training
from revgn_lab.settings.forms import is_named, load_yaml
from revgn_lab.settings.kinds import KINDS, OPTIMIZER
from revgn_lab.settings.messages import one_line


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        ConfigError: it is not valid YAML, or not a list of settings.
    """
    settings = load_yaml(path)
    if not is_named(settings):
        raise ConfigError(f"{path} holds no settings; expected lines such as 'epochs: 10'")
    return settings


def parse(settings: Mapping[str, Any], overrides: Mapping[str, Any] = MappingProxyType({})) -> RunConfig:
    """The typed configuration of settings.

    Args:
        settings: as they stand in YAML.
        overrides: of these, by dotted name: {"optimizer": "Adam", "optimizer.lr": 0.5}. Another class does not inherit
            the arguments of the first.

    Raises:
        ConfigError: an unknown setting or class, a wrong type, a value out of range.
    """
    parts, plain = _choose_parts(settings, overrides)
    parser = _parser(tuple(parts.items()))
    _override(plain, overrides, set(parser.get_defaults().keys()))
    try:
        # In two steps, as jsonargparse words what is missing better on a command line.
        parsed = parser.parse_args([], namespace=parser.parse_object(plain, defaults=True, _skip_required=True))
    except (argparse.ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(one_line(str(error))) from error
    return _typed(parts, parsed.as_dict())


def settings_help(settings: Mapping[str, Any]) -> str:
    """Every setting of the classes that this configuration uses, with its type, its value and what it means."""
    parts, plain = _choose_parts(settings, {})
    parser = _parser.__wrapped__(tuple(parts.items()))  # not the shared one, as its defaults are to change
    _override(plain, {}, set(parser.get_defaults().keys()))
    parser.set_defaults(vars(parser.parse_object(plain, _skip_required=True).as_flat()))
    text = parser.format_help()
    return text.partition("Show this help message and exit.\n")[2].strip("\n")


def _choose_parts(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """The class chosen for each kind of part, and the settings with the parts' arguments alone in their places."""
    chosen: dict[str, str] = {}
    plain = dict(settings)
    for name in KINDS:  # right inverse, solver and control after the optimizer, among whose arguments they stand
        group, _, key = name.rpartition(".")
        home: dict[str, Any] = plain.setdefault(group, {}) if group else plain
        part = _part(name, home.pop(key, None))
        override = overrides.get(name, part and part.class_path)
        if part is None or override != part.class_path:
            part = _part(name, None if override == "null" else override)
        if part:
            chosen[name] = part.class_path
            home[key] = dict(part.init_args)
    return chosen, plain


def _override(plain: dict[str, Any], overrides: Mapping[str, Any], known: set[str]) -> None:
    """Put the overrides, classes aside, into the settings, all of whose names must be known."""
    _require_known(_leaves(plain, known), known)
    arguments = {name: value for name, value in overrides.items() if name not in KINDS}
    _require_known(arguments, known)
    for name, value in arguments.items():
        *groups, key = name.split(".")
        home = plain
        for group in groups:
            inner = dict(home.get(group, {}))  # what was given stays as it was
            home[group] = inner
            home = inner
        home[key] = value


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
def _parser(chosen: tuple[tuple[str, str], ...]) -> ArgumentParser:
    """A parser of all settings, given the class of each part."""
    parts = dict(chosen)
    for name in ("loss", "optimizer"):
        if name not in parts:
            raise ConfigError(f"no {name} chosen; name one of {', '.join(KINDS[name].classes)}")
    optimizer = OPTIMIZER.find(parts["optimizer"])
    for name in parts:
        group, _, own = name.rpartition(".")
        if group and own not in signature(optimizer).parameters:
            raise ConfigError(f"{optimizer.__name__} takes no {own}, as GaussNewton does; leave {name} out")
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
    arguments: dict[str, Any] = {}
    for name in sorted(parts, key=len, reverse=True):  # parts of a part are taken out of it first
        group, _, key = name.rpartition(".")
        arguments[name] = (parsed[group] if group else parsed).pop(key, {})
    return RunConfig(
        data=parsed["data"],
        parts={name: Part(class_path, arguments[name]) for name, class_path in parts.items()},
        training=Training(**{each.name: parsed[each.name] for each in fields(Training)}),
    )
