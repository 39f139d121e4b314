"""The claims of the talk and our own, as `claims.yaml` lists them."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from revgn.naming import unknown_name
from revgn_lab.claims.statistics import STATISTICS
from revgn_lab.errors import ConfigError
from revgn_lab.settings.forms import Form, is_texts, load_yaml, require, require_known

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
    entries = load_yaml(path)
    if not isinstance(entries, dict):
        raise ConfigError(f"{path} holds {type(entries).__name__}; expected claims by name, as in {SHIPPED.name}")
    return [_claim(str(name), entry, f"{path.name}: {name}") for name, entry in entries.items()]


_TEXT = Form(lambda value: isinstance(value, str), "a text")
_LABELS = Form(lambda value: value == OTHERS or is_texts(value), "a list of labels such as [Adam, SGD]")
_STATISTIC = Form(
    lambda value: isinstance(value, dict) and "name" in value, "its name and arguments, as in {name: lowest_cka}"
)
_TEXTS = ("claim", "source", "study")
_LISTS = ("of", "against", "settings")
_THRESHOLDS = ("at_least", "at_most")
_KEYS = (*_TEXTS, *_LISTS, *_THRESHOLDS, "statistic")
_ENTRY = Form(lambda value: isinstance(value, dict), f"keys such as {', '.join(_KEYS[:3])}")


def _claim(name: str, entry: Any, place: str) -> Claim:
    require_known(place, "key", require(place, entry, _ENTRY), _KEYS)
    texts = {key: require(f"{place}.{key}", entry.get(key), _TEXT) for key in _TEXTS}
    thresholds = [key for key in _THRESHOLDS if key in entry]
    if len(thresholds) != 1 or not isinstance(entry[thresholds[0]], int | float):
        raise ConfigError(f"{place} has thresholds {thresholds}; expected one number, at_least or at_most")
    statistic, arguments = _statistic(entry.get("statistic"), place)
    lists = {key: require(f"{place}.{key}", entry[key], _LABELS) for key in _LISTS if key in entry}
    labels: dict[str, Any] = {key: () if value == OTHERS else tuple(value) for key, value in lists.items()}
    return Claim(
        name=name,
        statistic=statistic,
        arguments=arguments,
        threshold=float(entry[thresholds[0]]),
        at_least=thresholds == ["at_least"],
        **texts,
        **labels,
    )


def _statistic(value: Any, place: str) -> tuple[str, dict[str, Any]]:
    """The name of a statistic and its arguments, which must be those that it takes."""
    arguments = dict(require(f"{place}.statistic", value, _STATISTIC))
    name = arguments.pop("name")
    if name not in STATISTICS:
        raise ConfigError(f"{place}: {unknown_name('statistic', name, STATISTICS)}")
    takes = list(signature(STATISTICS[name].function).parameters)[3:]  # after runs, optimizer and against
    require_known(place, f"argument of {name}", arguments, takes)
    missing = [key for key in takes if key not in arguments]
    if missing:
        raise ConfigError(f"{place}: {name} lacks {', '.join(missing)}; give each a value beside the name")
    return name, arguments
