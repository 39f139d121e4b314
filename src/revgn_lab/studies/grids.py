"""What a study is, and how it is read from YAML.

    summary: one line
    scales:
      smoke:
        - config: base/digits-full-batch     # what every run of this grid starts from
          seeds: [42, 43, 44]
          overrides: {epochs: 20}            # for all runs of the grid
          settings:                          # a panel of a figure, and what it changes
            full batch: {}
          optimizers:                        # a curve in each panel, and what it changes
            GN exact: {}
            Adam: {optimizer: Adam, optimizer.lr: 0.003}

In place of `scales`, a study that looks at the runs of others says `same_runs_as: [full-batch, mini-batch]`, and by
`settings: [full batch]` at which of their panels if not at all; one that is nothing but a collection of others says
`collects: [full-batch, theorem]`. What several grids need can be kept under `anchors`, which is for YAML alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from revgn.naming import unknown_name
from revgn_lab.errors import ConfigError
from revgn_lab.settings.forms import Form, is_named, is_texts, require, require_known
from revgn_lab.settings.parsing import read_yaml
from revgn_lab.settings.shipped import shipped_studies

SCALES = {
    "smoke": "digits, about a minute a study",
    "cpu": "Fashion-MNIST, minutes to an hour on two cores",
    "paper": "MNIST and CIFAR-10, the authors' sizes",
}

Overrides = Mapping[str, Any]
"""Settings by dotted name, as they are given on the command line."""


@dataclass(frozen=True)
class Grid:
    """Runs that differ in what is drawn: each setting with each optimizer and each seed.

    Attributes:
        config: the configuration that all start from.
        settings: panels of a figure, by name.
        optimizers: curves in every panel, by name.
        seeds: of the initial weights and of the order of the mini-batches.
        overrides: for all runs.
        share: how many runs take turns in one process, where to start it would cost more than the run.
        threads: CPU threads of a run. One, unless runs are too large for that: sums then come out the same
            whatever the number of cores and of runs at a time.
    """

    config: str
    settings: Mapping[str, Overrides]
    optimizers: Mapping[str, Overrides]
    seeds: tuple[int, ...]
    overrides: Overrides = field(default_factory=dict[str, Any])
    share: int = 1
    threads: int = 1


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it.

    Attributes:
        name, summary: what to call it, and a line about it.
        scales: its own runs, by scale.
        same_runs_as: studies whose runs answer this question too.
        settings: the panels of theirs that do; empty for all.
        collects: studies that this one is made of.
    """

    name: str
    summary: str
    scales: Mapping[str, tuple[Grid, ...]]
    same_runs_as: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    collects: tuple[str, ...] = ()


def find_study(name_or_path: str) -> Study:
    """A study by name, or from a YAML file of the user's own.

    Raises:
        ConfigError: there is none, or its definition is not what it should be.
    """
    shipped = shipped_studies()
    path = Path(name_or_path)
    if name_or_path in shipped:
        path = shipped[name_or_path]
    elif path.suffix not in (".yaml", ".yml"):
        raise ConfigError(unknown_name("study", name_or_path, shipped) + "; or the path of a YAML file")
    elif not path.is_file():
        raise ConfigError(f"{path}: there is no such file; check the path")
    try:
        return _study(path.stem, read_yaml(path))
    except ConfigError as error:
        raise ConfigError(f"study {path.stem}: {error}") from error


def require_seeds(where: str, value: Any) -> tuple[int, ...]:
    """Seeds as they are given; ConfigError if they are not whole numbers from 0 on, each once."""
    return tuple(require(where, value, _SEEDS))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_seeds(value: Any) -> bool:
    are_seeds = isinstance(value, list) and value and all(_is_count(seed) or seed == 0 for seed in value)
    return bool(are_seeds) and len(set(value)) == len(value)


_SEEDS = Form(_is_seeds, "a list of whole numbers from 0 on, each once")
_COUNT = Form(_is_count, "a whole number from 1 on")
_BY_NAME = Form(is_named, "overrides by name")
_OVERRIDES = Form(is_named, "settings by dotted name, such as optimizer.lr: 0.1")
_STUDY = {
    "scales": Form(is_named, "grids by scale"),
    "same_runs_as": Form(is_texts, "names of studies"),
    "settings": Form(is_texts, "names of settings"),
    "collects": Form(is_texts, "names of studies"),
}
_GRID = {
    "config": Form(lambda value: isinstance(value, str), "the name of a configuration"),
    "settings": _BY_NAME,
    "optimizers": _BY_NAME,
    "seeds": _SEEDS,
    "overrides": _OVERRIDES,
    "share": _COUNT,
    "threads": _COUNT,
}
_OPTIONAL = {"overrides", "share", "threads"}


def _study(name: str, settings: Mapping[str, Any]) -> Study:
    _require_keys("the study", settings, {"summary"}, {*_STUDY, "anchors"})
    own = {key: require(key, settings[key], form) for key, form in _STUDY.items() if key in settings}
    if sum(bool(own.get(key)) for key in ("scales", "same_runs_as", "collects")) != 1:
        raise ConfigError("expected one of scales, with grids, and same_runs_as or collects, with names of studies")
    if own.get("settings") and not own.get("same_runs_as"):
        raise ConfigError("settings chooses among those of other studies; give same_runs_as too, or leave it out")
    scales: Mapping[str, Any] = own.pop("scales", {})
    for scale in scales:
        if scale not in SCALES:
            raise ConfigError(unknown_name("scale", scale, SCALES))
    grids = {scale: tuple(_grids(f"scales.{scale}", value)) for scale, value in scales.items()}
    return Study(name, str(settings["summary"]), grids, **{key: tuple(names) for key, names in own.items()})


def _grids(where: str, value: Any) -> Iterator[Grid]:
    for index, grid in enumerate(require(where, value, Form(lambda value: isinstance(value, list), "a list of grids"))):
        yield _grid(f"{where}[{index}]", grid)


def _grid(where: str, value: Any) -> Grid:
    grid = require(where, value, Form(is_named, "settings such as config and seeds"))
    _require_keys(where, grid, {*_GRID} - _OPTIONAL, _OPTIONAL)
    for key, setting in grid.items():
        require(f"{where}.{key}", setting, _GRID[key])
    for key in ("settings", "optimizers"):
        if not grid[key]:
            raise ConfigError(f"{where}.{key} is empty; expected at least one name with its overrides")
        for name, overrides in grid[key].items():
            require(f"{where}.{key}.{name}", overrides, _OVERRIDES)
    return Grid(**(grid | {"seeds": tuple(grid["seeds"])}))


def _require_keys(where: str, settings: Mapping[str, Any], needed: set[str], optional: set[str]) -> None:
    require_known(where, "setting", settings, needed | optional)
    missing = sorted(needed - set(settings))
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; add it")
