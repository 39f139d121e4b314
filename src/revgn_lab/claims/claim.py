"""The claims of the talk and our own, as `claims.yaml` lists them."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import yaml

from revgn.naming import unknown_name
from revgn_lab.claims.statistics import STATISTICS, Statistic
from revgn_lab.errors import ConfigError
from revgn_lab.settings.messages import one_line

SHIPPED = Path(__file__).with_name("claims.yaml")
OTHERS = "others"
_MODES = ("GN as released", "GN exact")


@dataclass(frozen=True)
class Claim:
    """One claim, and what decides it.

    Attributes:
        name: short, of letters and hyphens.
        claim: one sentence.
        source: the slide.
        study: whose runs decide.
        statistic: a name of `STATISTICS`.
        arguments: of the statistic.
        threshold: that its number is held against.
        at_least: whether the claim holds above the threshold; otherwise it holds below.
        of: labels of the optimizers that it is about; empty for all that are not in `against`.
        against: labels of those it is compared with.
        settings: panels of the study that it is about; empty for each.
    """

    name: str
    claim: str
    source: str
    study: str
    statistic: str
    arguments: Mapping[str, Any]
    threshold: float
    at_least: bool
    of: tuple[str, ...] = _MODES
    against: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """The statistic in words."""
        words = {
            key: value.replace("_", " ") if isinstance(value, str) else value for key, value in self.arguments.items()
        }
        return STATISTICS[self.statistic].says.format(**words)

    @property
    def condition(self) -> str:
        """The threshold in words."""
        return f"{'at least' if self.at_least else 'at most'} {self.with_unit(f'{self.threshold:g}')}"

    def with_unit(self, number: str) -> str:
        """A number of this claim's statistic, with its unit."""
        return f"{number} {STATISTICS[self.statistic].unit}".rstrip()


def load_claims(path: Path = SHIPPED) -> list[Claim]:
    """The claims in a YAML file; the one that comes with the package says how it is written.

    Raises:
        ConfigError: the file is not what it should be; the message names the claim and the key.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {one_line(str(error))}") from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path} holds {type(entries).__name__}; expected claims by name, as in {SHIPPED.name}")
    return [_claim(str(name), entry, f"{path.name}: {name}") for name, entry in entries.items()]


_TEXTS = ("claim", "source", "study")
_LISTS = ("of", "against", "settings")
_THRESHOLDS = ("at_least", "at_most")
_KEYS = (*_TEXTS, *_LISTS, *_THRESHOLDS, "statistic")


def _claim(name: str, entry: Any, place: str) -> Claim:
    if not isinstance(entry, dict):
        raise ConfigError(f"{place} is {entry!r}; expected keys such as {', '.join(_KEYS[:3])}")
    for key in entry:
        if key not in _KEYS:
            raise ConfigError(f"{place}: {unknown_name('key', key, _KEYS)}")
    for key in _TEXTS:
        if not isinstance(entry.get(key), str):
            raise ConfigError(f"{place}.{key} is {entry.get(key)!r}; expected a text")
    thresholds = [key for key in _THRESHOLDS if key in entry]
    if len(thresholds) != 1 or not isinstance(entry[thresholds[0]], int | float):
        raise ConfigError(f"{place} has thresholds {thresholds}; expected one number, at_least or at_most")
    statistic, arguments = _statistic(entry.get("statistic"), place)
    lists = {key: _names(entry[key], f"{place}.{key}") for key in _LISTS if key in entry}
    return Claim(
        name=name,
        claim=entry["claim"],
        source=entry["source"],
        study=entry["study"],
        statistic=statistic,
        arguments=arguments,
        threshold=float(entry[thresholds[0]]),
        at_least=thresholds == ["at_least"],
        **lists,
    )


def _names(value: Any, place: str) -> tuple[str, ...]:
    if value == OTHERS:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{place} is {value!r}; expected a list of labels such as [Adam, SGD]")
    return tuple(value)


def _statistic(value: Any, place: str) -> tuple[str, dict[str, Any]]:
    """The name of a statistic and its arguments, which must be those that it takes."""
    if not isinstance(value, dict) or "name" not in value:
        raise ConfigError(
            f"{place}.statistic is {value!r}; expected its name and arguments, as in {{name: lowest_cka}}"
        )
    name, arguments = value["name"], {key: given for key, given in value.items() if key != "name"}
    if name not in STATISTICS:
        raise ConfigError(f"{place}: {unknown_name('statistic', name, STATISTICS)}")
    takes = _arguments(STATISTICS[name])
    for key in arguments:
        if key not in takes:
            raise ConfigError(f"{place}: {unknown_name(f'argument of {name}', key, takes)}")
    missing = [key for key in takes if key not in arguments]
    if missing:
        raise ConfigError(f"{place}: {name} lacks {', '.join(missing)}; give each a value beside the name")
    return name, arguments


def _arguments(statistic: Statistic) -> list[str]:
    """Those that come after runs, optimizer and against."""
    return list(signature(statistic.function).parameters)[3:]
