"""The runs of a report with their labels: those that a study's table names, and those that `revgn train` left."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from revgn_lab.errors import RunError
from revgn_lab.report.records import Record, read_record
from revgn_lab.runs import folders
from revgn_lab.runs.metrics_table import COLUMNS
from revgn_lab.studies.outcomes import note_of
from revgn_lab.studies.rows import LABELS, TABLE, Labels, read_rows

SINGLE = "single runs"
"""What stands for the study of runs that belong to none."""


@dataclass(frozen=True, eq=False)
class Run:
    """A run with its labels; studies may share one, which then has several.

    Attributes:
        labels: where it stands.
        record: what its folder tells.
        home: the folder of its study, or its own.
    """

    labels: Labels
    record: Record
    home: Path


def collect(places: Sequence[Path]) -> list[Run]:
    """All runs in these folders, in the order of the tables that name them.

    Args:
        places: folders of studies, of runs, or of folders of these.

    Raises:
        RunError: a folder holds neither, a study's table is not what it should be, or two runs have the same labels.
    """
    single: list[Record] = []
    runs: list[Run] = []
    for place in places:
        if not place.is_dir():
            raise RunError(f"{place} is no folder; name one of a study (with {TABLE}) or of a run (with config.yaml)")
        found = list(_homes(place))
        if not found:
            raise RunError(
                f"{place} holds no runs; name a folder of a study (with {TABLE}) or of runs (with config.yaml)"
            )
        for home in found:
            if (home / TABLE).is_file():
                runs += _study(home)
            else:
                single.append(read_record(home))
    return _each_once([*runs, *_label(single)])


def metrics_of(runs: Sequence[Run]) -> pd.DataFrame:
    """The metrics of all runs that have ended, one row per step, after columns with their labels."""
    ended = [run.record.metrics.assign(**asdict(run.labels)) for run in runs if run.record.metrics is not None]
    frame = pd.concat(ended, ignore_index=True) if ended else pd.DataFrame()
    further = [name for name in frame if name not in COLUMNS and name not in LABELS]
    return frame.reindex(columns=[*LABELS, *COLUMNS, *further])


def _homes(place: Path) -> Iterator[Path]:
    """The folders of studies and of runs, at any depth."""
    if (place / TABLE).is_file() or (place / folders.CONFIG).is_file():
        yield place
        return
    for inner in sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")):
        yield from _homes(inner)


def _study(home: Path) -> list[Run]:
    records: dict[str, Record] = {}
    runs: list[Run] = []
    for row in read_rows(home):
        if row.folder not in records:
            records[row.folder] = read_record(home / row.folder, note_of(home, row))
        labels = Labels(**{name: getattr(row, name) for name in LABELS})
        runs.append(Run(labels, records[row.folder], home))
    return runs


def _label(records: Sequence[Record]) -> list[Run]:
    """Labels from the settings of each run; settings that tell curves apart are named with the optimizer."""
    labelled = [Run(_labels(record), record, record.folder) for record in records]
    return [replace(run, labels=replace(run.labels, optimizer=_curve_name(run, labelled))) for run in labelled]


def _labels(record: Record) -> Labels:
    settings = record.settings
    size, rows = settings.get("batch_size"), settings.get("data.rows")
    of = f" of {rows:,} rows" if rows else ""
    return Labels(
        study=SINGLE,
        scale="",
        dataset=Path(str(settings.get("data.name_or_path", "unknown"))).stem,
        setting=f"batches of {size}{of}" if size else f"full batch{of}",
        optimizer=str(settings.get("optimizer", "unknown")).rpartition(".")[2],
        seed=int(settings.get("seed", 0)),
    )


def _curve_name(run: Run, all_runs: Sequence[Run]) -> str:
    """The optimizer, with what distinguishes its settings from those of the other runs in its panel."""
    name = run.labels.optimizer
    beside = [other for other in all_runs if replace(other.labels, seed=run.labels.seed) == run.labels]
    differing = _differing([other.record.settings for other in beside])
    words = [f"{setting.rpartition('.')[2]} {run.record.settings.get(setting)}" for setting in differing]
    same_seed = [other for other in beside if other.labels.seed == run.labels.seed]
    if sum(not _differing([other.record.settings, run.record.settings]) for other in same_seed) > 1:  # twice the same
        words.append(run.record.folder.name)
    return f"{name}, {', '.join(words)}" if words else name


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings that are not the same in all, the seed aside."""
    names = dict.fromkeys(name for each in settings for name in each if name != "seed")
    return [name for name in names if any(each.get(name) != settings[0].get(name) for each in settings)]


def _each_once(runs: Sequence[Run]) -> list[Run]:
    """The runs without those that are named twice."""
    seen: dict[Labels, Run] = {}
    for run in runs:
        other = seen.setdefault(run.labels, run).record.folder
        if other.resolve() != run.record.folder.resolve():
            raise RunError(
                f"{other} and {run.record.folder} are both {' / '.join(map(str, asdict(run.labels).values()))}; give "
                "folders in which each run is named once"
            )
    return list(seen.values())
