"""What the folder of one run tells a report."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pandas as pd

from revgn_lab.runs import folders
from revgn_lab.settings.messages import one_line
from revgn_lab.settings.parsing import read_yaml

_NEEDED = ("step", "epoch", "seconds", "loss")


class State(str, Enum):
    """How a run ended, in words for a table."""

    COMPLETE = "complete"
    DIVERGED = "diverged"
    UNFINISHED = "not finished"
    FAILED = "failed"
    MISSING = "not started"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, eq=False)
class Record:
    """One run.

    Attributes:
        folder: where it lies.
        state: how it ended.
        reason: why it is not complete.
        settings: by the dotted names of the command line; empty where there are none.
        environment: what it ran on.
        metrics: its rows, once it has ended; None before.
    """

    folder: Path
    state: State
    reason: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    metrics: pd.DataFrame | None = None


def read_record(folder: Path, note: Path | None = None) -> Record:
    """The run in a folder. What cannot be read is a state of it, with the reason, and no error.

    Args:
        folder: of the run.
        note: file in which a study says why the run failed, if it did.
    """
    try:
        state = folders.state_of(folder)
        settings = {} if state is folders.State.ABSENT else _named(read_yaml(folder / folders.CONFIG))
        if state is folders.State.COMPLETE:
            return _ended(folder, settings)
        if note is not None and note.is_file():
            return Record(folder, State.FAILED, one_line(note.read_text(encoding="utf-8")), settings)
        if state is folders.State.STARTED:
            return Record(folder, State.UNFINISHED, "the same command goes on with it", settings)
        return Record(folder, State.MISSING, "the command that makes it runs it", settings)
    except (ValueError, KeyError, OSError) as error:
        advice = "remove the folder and run it again"
        return Record(folder, State.UNREADABLE, f"{one_line(str(error))}; {advice}")


def _ended(folder: Path, settings: Mapping[str, Any]) -> Record:
    results = folders.read_results(folder)
    reason = str(results.get("diverged") or "")
    state = State.DIVERGED if reason else State.COMPLETE
    return Record(folder, state, reason, settings, results.get("environment", {}), _metrics(folder / folders.METRICS))


def _metrics(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path)
    missing = [name for name in _NEEDED if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"{path.name} lacks {', '.join(missing) or 'rows'}")
    words = [str(name) for name in frame.select_dtypes(exclude=["number", "bool"])]
    if words:
        raise ValueError(f"{path.name} holds something other than numbers in {', '.join(words)}")
    return frame


def _named(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by the names that the command line has for them: optimizer.lr, and optimizer for its class."""
    plain = {name: value for name, value in folders.flat_settings(settings).items() if value != {}}  # no arguments
    return {re.sub(r"\.(class_path|init_args)\b", "", name): value for name, value in plain.items()}
