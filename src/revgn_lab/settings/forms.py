"""Checks of what a YAML file holds; errors name the place, what stands there and what was expected."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from revgn.naming import unknown_name
from revgn_lab.errors import ConfigError
from revgn_lab.settings.messages import one_line


class Form(NamedTuple):
    """What a value must be, and the same in words."""

    fits: Callable[[Any], bool]
    expected: str


def load_yaml(path: Path) -> Any:
    """What a YAML file holds; ConfigError if it is none."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {one_line(str(error))}") from error


def require(place: str, value: Any, form: Form) -> Any:
    """The value, which must be of the form."""
    if not form.fits(value):
        raise ConfigError(f"{place} is {value!r}; expected {form.expected}")
    return value


def require_known(place: str, kind: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse names that are not known."""
    for name in given:
        if name not in known:
            raise ConfigError(f"{place}: {unknown_name(kind, name, known)}")


def is_texts(value: Any) -> bool:
    """Whether it is a list of strings."""
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def is_named(value: Any) -> bool:
    """Whether it is a mapping with strings for keys."""
    return isinstance(value, dict) and all(isinstance(each, str) for each in value)
