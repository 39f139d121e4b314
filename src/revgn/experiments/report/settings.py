"""What the runs of a report were set to, and what they ran on: what they share, and what tells them apart."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from revgn.experiments.report.collection import Run
from revgn.experiments.report.html import NOTHING

_PER_RUN = ("seed",)
_DATE = "date"


def shared_settings(runs: Iterable[Run]) -> dict[str, str]:
    """The settings that have one value in all these runs, seeds aside."""
    known = [run.record.settings for run in runs if run.record.settings]
    names = dict.fromkeys(name for settings in known for name in settings if name not in _PER_RUN)
    return {
        name: _shown(known[0][name])
        for name in names
        if all(name in settings and settings[name] == known[0][name] for settings in known)
    }


def differing_settings(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each curve of each panel: its seeds, and the settings in which these rows differ."""
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
    return {name: _merged(name, values) for name, values in found.items()}


def _merged(name: str, values: Sequence[str]) -> str:
    first, last = min(values), max(values)
    if name == _DATE and first != last:
        return f"{first} to {last}"
    return "; ".join(dict.fromkeys(values))


def _shown(value: Any) -> str:
    """A setting as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
