"""What the runs of a report were set to, and what they ran on: what they share, and what tells them apart."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from revgn_lab.report.collection import Run
from revgn_lab.report.summary import NOTHING

_PER_RUN = ("seed",)
_DATE = "date"
_ABSENT = object()


def shared_settings(runs: Iterable[Run]) -> dict[str, str]:
    """The settings, seeds aside, that have one value in all these runs.

    An argument of a class counts as shared if all runs of that class have it and no other value: what Adam does not
    take tells no runs apart.
    """
    known = [run.record.settings for run in runs if run.record.settings]
    names = dict.fromkeys(name for settings in known for name in settings if name not in _PER_RUN)
    found = {name: _values_where_possible(name, known) for name in names}
    return {name: _shown(values[0]) for name, values in found.items() if all(value == values[0] for value in values)}


def _values_where_possible(name: str, known: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Of all runs whose class, if it is a class that the setting belongs to, takes it; `_ABSENT` if not given."""
    home = name.rpartition(".")[0]
    classes = {settings.get(home) for settings in known if name in settings}
    return [settings.get(name, _ABSENT) for settings in known if settings.get(home) in classes]


def differing_settings(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each curve of each panel: its seeds, and the settings that have several values among these rows."""
    known = [run for run in runs if run.record.settings]
    shared = {*shared_settings(known), *_PER_RUN}
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for run in known:
        key = (run.labels.dataset, run.labels.setting, run.labels.optimizer)
        own = {name: _shown(value) for name, value in run.record.settings.items() if name not in shared}
        row = rows.setdefault(key, {**dict(zip(("data", "setting", "curve"), key, strict=True)), "seeds": "", **own})
        row["seeds"] = f"{row['seeds']}, {run.labels.seed}".lstrip(", ")
    return pd.DataFrame(list(rows.values())).fillna(NOTHING)


def environment_of(runs: Iterable[Run]) -> dict[str, str]:
    """Versions and hardware; where runs differ, all values, and of dates the first and the last."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for name, value in run.record.environment.items():
            found.setdefault(str(name), []).append(str(value))
    told = {name: "; ".join(dict.fromkeys(values)) for name, values in found.items()}
    if len(set(dates := found.get(_DATE, []))) > 1:
        told[_DATE] = f"{min(dates)} to {max(dates)}"
    return told


def _shown(value: Any) -> str:
    """A setting as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
