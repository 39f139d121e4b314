"""From studies to the rows of their table."""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from revgn.naming import unknown_name
from revgn_lab.errors import ConfigError
from revgn_lab.settings.config import RunConfig
from revgn_lab.settings.parsing import parse, read_yaml
from revgn_lab.settings.shipped import find_config
from revgn_lab.studies.grids import SCALES, Grid, Overrides, Study, find_study, require_seeds
from revgn_lab.studies.rows import Row, runs_of


def expand(name_or_path: str, scale: str, *, seeds: Sequence[int] | None = None) -> list[Row]:
    """The rows of a study at a scale, with other seeds if these are given.

    Of a study that looks at the runs of others, all of these.

    Raises:
        ConfigError: unknown names, a study that has nothing at this scale, settings that are not what they should be.
    """
    if scale not in SCALES:
        raise ConfigError(unknown_name("scale", scale, SCALES))
    study = find_study(name_or_path)
    if seeds is not None:
        own = require_seeds("seeds", list(seeds))
        grids = {name: tuple(replace(grid, seeds=own) for grid in each) for name, each in study.scales.items()}
        study = replace(study, scales=grids)
    cells = list(_cells(study, scale, (study.name,)))
    if not cells:
        raise ConfigError(f"study {study.name} has no runs at scale {scale}; choose another with --scale")
    return _in_batches(cells)


def folder_of(config: RunConfig) -> str:
    """The folder of a run within a study's: readable, and another one for any other settings."""
    settings = json.dumps(config.as_dict(), sort_keys=True).encode()
    readable = f"{_dataset(config)}-{config.parts['optimizer'].class_path.rpartition('.')[2]}-{config.training.seed}"
    slug = re.sub(r"[^a-z0-9]+", "-", readable.lower()).strip("-")
    return f"runs/{slug}-{hashlib.sha256(settings).hexdigest()[:12]}"


def _cells(study: Study, scale: str, path: tuple[str, ...]) -> Iterator[tuple[Row, int]]:
    """The rows of a study, which was reached by this path of names, and how many runs take turns in a process."""
    for grid in study.scales.get(scale, ()):
        yield from _grid_cells(study.name, scale, grid)
    for other in (*study.collects, *study.same_runs_as):
        if other in path:
            raise ConfigError(f"study {study.name} leads back to {other}; name studies that have runs of their own")
    for other in study.collects:
        yield from _cells(find_study(other), scale, (*path, other))
    looked_at = [cell for other in study.same_runs_as for cell in _cells(find_study(other), scale, (*path, other))]
    known = {row.setting for row, _ in looked_at}
    for setting in study.settings:
        if known and setting not in known:
            raise ConfigError(f"study {study.name}: {unknown_name('setting', setting, known)}")
    for row, share in looked_at:
        if not study.settings or row.setting in study.settings:
            yield replace(row, study=study.name), share


def _grid_cells(study: str, scale: str, grid: Grid) -> Iterator[tuple[Row, int]]:
    for setting, by_setting in grid.settings.items():
        for optimizer, by_optimizer in grid.optimizers.items():
            where = f"study {study} at scale {scale}, {setting}, {optimizer}"
            merged = _merged(where, grid.overrides, by_optimizer, by_setting)
            try:
                resolved = _resolve(grid.config, json.dumps(merged, sort_keys=True))
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from error
            for seed in grid.seeds:
                # Quicker than to parse again, which is most of the work here.
                config = replace(resolved, training=replace(resolved.training, seed=seed))
                labels = (study, scale, _dataset(config), setting, optimizer, seed)
                yield Row(*labels, folder_of(config), batch="", threads=grid.threads, config=config), grid.share


def _merged(where: str, *several: Overrides) -> Overrides:
    merged: dict[str, Any] = {}
    for overrides in several:
        twice = sorted(merged.keys() & overrides.keys())
        if twice:
            raise ConfigError(f"{where}: {', '.join(twice)} is given twice; leave it to settings or to optimizers")
        merged |= overrides
    return merged


def _in_batches(cells: Sequence[tuple[Row, int]]) -> list[Row]:
    """The rows, each with the name of the batch that its run belongs to."""
    share = {row.folder: size for row, size in reversed(cells)}
    batches: dict[str, str] = {}

    def alike(row: Row) -> tuple[str, int, int]:
        return row.dataset, row.threads, share[row.folder]

    # Runs of one data set come one after another, so that a process loads it once.
    runs = sorted(runs_of(row for row, _ in cells), key=alike)
    for (_, _, size), group in groupby(runs, key=alike):
        alike_runs = list(group)
        number = -(-len(alike_runs) // size)
        for index in range(number):
            members = alike_runs[index::number]  # long and short runs, which tend to come in rows, in every batch
            batches |= dict.fromkeys((row.folder for row in members), _batch_name(members))
    return [replace(row, batch=batches[row.folder]) for row, _ in cells]


def _batch_name(members: Iterable[Row]) -> str:
    """A name that other members would change."""
    first, *others = (row.folder for row in members)
    digest = hashlib.sha256("\n".join([first, *others]).encode()).hexdigest()
    return f"{Path(first).name}+{len(others)}-{digest[:8]}"


@functools.cache
def _base(name: str) -> Mapping[str, Any]:
    return read_yaml(find_config(name))


@functools.cache  # figures share settings
def _resolve(config: str, overrides: str) -> RunConfig:
    return parse(_base(config), json.loads(overrides))


def _dataset(config: RunConfig) -> str:
    return Path(str(config.data["name_or_path"])).stem
