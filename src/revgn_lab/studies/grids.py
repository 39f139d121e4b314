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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revgn.naming import unknown_name
from revgn_lab.errors import ConfigError
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
    overrides: Overrides
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
    return tuple(_typed(where, value, _seeds, "a list of whole numbers from 0 on, each once"))


def _study(name: str, settings: Mapping[str, Any]) -> Study:
    _require_keys("the study", settings, {"summary"}, {"scales", "same_runs_as", "settings", "collects", "anchors"})
    others, collected = (
        tuple(_typed(key, settings.get(key, []), _strings, "names of studies")) for key in ("same_runs_as", "collects")
    )
    scales = _typed("scales", settings.get("scales", {}), _mapping, "grids by scale")
    if sum(map(bool, (scales, others, collected))) != 1:
        raise ConfigError("expected one of scales, with grids, and same_runs_as or collects, with names of studies")
    panels = tuple(_typed("settings", settings.get("settings", []), _strings, "names of settings"))
    if panels and not others:
        raise ConfigError("settings chooses among those of other studies; give same_runs_as too, or leave it out")
    for scale in scales:
        if scale not in SCALES:
            raise ConfigError(unknown_name("scale", scale, SCALES))
    grids = {scale: tuple(_grids(f"scales.{scale}", value)) for scale, value in scales.items()}
    return Study(name, str(settings["summary"]), grids, others, panels, collected)


def _grids(where: str, value: Any) -> Sequence[Grid]:
    grids = _typed(where, value, _list, "a list of grids")
    return [_grid(f"{where}[{index}]", grid) for index, grid in enumerate(grids)]


def _grid(where: str, value: Any) -> Grid:
    needed, optional = {"config", "seeds", "settings", "optimizers"}, {"overrides", "share", "threads"}
    grid = _typed(where, value, _mapping, "settings such as config and seeds")
    _require_keys(where, grid, needed, optional)
    counts = {
        name: _typed(f"{where}.{name}", grid[name], _count, "a whole number from 1 on")
        for name in ("share", "threads")
        if name in grid
    }
    return Grid(
        config=_typed(f"{where}.config", grid["config"], _string, "the name of a configuration"),
        settings=_named(f"{where}.settings", grid["settings"]),
        optimizers=_named(f"{where}.optimizers", grid["optimizers"]),
        seeds=require_seeds(f"{where}.seeds", grid["seeds"]),
        overrides=_overrides(f"{where}.overrides", grid.get("overrides", {})),
        **counts,
    )


def _named(where: str, value: Any) -> Mapping[str, Overrides]:
    named = _typed(where, value, _mapping, "overrides by name")
    if not named:
        raise ConfigError(f"{where} is empty; expected at least one name with its overrides")
    return {name: _overrides(f"{where}.{name}", overrides) for name, overrides in named.items()}


def _overrides(where: str, value: Any) -> Overrides:
    return _typed(where, value, _mapping, "settings by dotted name, such as optimizer.lr: 0.1")


def _typed(where: str, value: Any, fits: Callable[[Any], bool], expected: str) -> Any:
    if not fits(value):
        raise ConfigError(f"{where} is {value!r}; expected {expected}")
    return value


def _require_keys(where: str, settings: Mapping[str, Any], needed: set[str], optional: set[str]) -> None:
    for key in settings:
        if key not in needed | optional:
            raise ConfigError(f"{where}: {unknown_name('setting', key, needed | optional)}")
    missing = sorted(needed - set(settings))
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; add it")


def _string(value: Any) -> bool:
    return isinstance(value, str)


def _strings(value: Any) -> bool:
    return _list(value) and all(map(_string, value))


def _list(value: Any) -> bool:
    return isinstance(value, list)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_string, value))


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _seeds(value: Any) -> bool:
    is_seeds = _list(value) and value and all(_count(seed) or seed == 0 for seed in value)
    return bool(is_seeds) and len(set(value)) == len(value)
