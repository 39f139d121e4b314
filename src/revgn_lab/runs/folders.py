"""The folder of a run: what lies in it, how far the run has come, and whether another may take its place."""

import json
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from revgn_lab.errors import FolderError
from revgn_lab.files import write_atomically
from revgn_lab.settings.config import RunConfig
from revgn_lab.settings.parsing import parse, read_yaml

CONFIG = "config.yaml"
METRICS = "metrics.csv"
CHECKPOINT = "checkpoint.ckpt"
TENSORBOARD = "tensorboard"
REPRESENTATIONS = "representations.npz"
RESULTS = "results.json"
"""Written last: where it is, the run is complete."""


class State(Enum):
    """How far the run in a folder has come."""

    ABSENT = "absent"
    PREPARED = "prepared"  # settings, and nothing else
    STARTED = "started"
    COMPLETE = "complete"


def state_of(folder: Path) -> State:
    """How far the run in this folder has come."""
    if not (folder / CONFIG).is_file():
        return State.ABSENT
    if (folder / RESULTS).is_file():
        return State.COMPLETE
    return State.STARTED if any((folder / name).exists() for name in (METRICS, CHECKPOINT)) else State.PREPARED


def prepare(folder: Path, config: RunConfig) -> None:
    """Write the settings of a run that is still to be begun."""
    write_atomically(folder / CONFIG, yaml.safe_dump(config.as_dict(), sort_keys=False))


def read_config(folder: Path) -> RunConfig:
    """The settings of the run in this folder.

    Raises:
        ConfigError: they are not what they should be.
        OSError: there are none.
    """
    return parse(read_yaml(folder / CONFIG))


def read_results(folder: Path) -> dict[str, Any]:
    """What the run in this folder, which is complete, has come to; ValueError if its file holds something else."""
    results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    if not isinstance(results, dict):
        raise ValueError(f"{RESULTS} holds no results")
    return results


def claim(folder: Path, config: RunConfig, *, resume: bool, overwrite: bool) -> State:
    """Make the folder ready for this run, which then goes on from what it holds or, if PREPARED, starts afresh.

    Raises:
        FolderError: the folder holds a run already, and neither `resume` nor `overwrite` says what to do with it; or
            one with other settings, or files that are no run.
    """
    state = state_of(folder)
    if state is State.ABSENT and folder.is_dir() and any(folder.iterdir()) and not _only_leftovers(folder):
        raise FolderError(f"{folder} holds files but no run; name another folder with --out")
    if state is not State.ABSENT and not overwrite:
        if state is not State.PREPARED and not resume:
            raise FolderError(f"{folder} holds a run already; go on with --resume, or start over with --overwrite")
        _require_same_settings(folder, config)
    if overwrite or state in (State.ABSENT, State.PREPARED):
        _clear(folder)
        prepare(folder, config)
        return State.PREPARED
    sweep(folder)
    return state


def sweep(folder: Path) -> None:
    """Remove what was being written when a process was killed."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def _only_leftovers(folder: Path) -> bool:
    """Whether a process died here before it had written the first whole file."""
    return all(path.name.startswith(f".{CONFIG}.") for path in folder.iterdir())


def _require_same_settings(folder: Path, config: RunConfig) -> None:
    theirs, ours = flat_settings(read_yaml(folder / CONFIG)), flat_settings(config.as_dict())
    differing = [name for name in ours | theirs if theirs.get(name) != ours.get(name)]
    if differing:
        changes = "; ".join(f"{name} was {theirs.get(name)}, now {ours.get(name)}" for name in differing[:3])
        raise FolderError(
            f"{folder} holds a run with other settings ({changes}); give the same ones to resume it, or start over "
            "with --overwrite"
        )


def _clear(folder: Path) -> None:
    """Remove a run's own files, its settings excepted, and what it was writing when it was killed, and nothing else."""
    # Results first, settings to be replaced later: a kill in between must leave a run, and none that looks complete.
    own = (RESULTS, REPRESENTATIONS, CHECKPOINT, METRICS)
    for pattern in (*own, f"{TENSORBOARD}/events.out.tfevents.*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    sweep(folder)


def flat_settings(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Settings by dotted name."""
    if not isinstance(settings, dict) or not settings:
        return {prefix.rstrip("."): settings}
    return {
        name: value
        for key, inner in settings.items()
        for name, value in flat_settings(inner, f"{prefix}{key}.").items()
    }
