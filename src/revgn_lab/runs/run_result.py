"""What a run comes to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from revgn_lab.files import write_atomically
from revgn_lab.runs.environment import environment
from revgn_lab.runs.folders import METRICS, RESULTS, read_results


@dataclass(frozen=True, eq=False)
class Result:
    """The end of a run.

    Attributes:
        metrics: one row a step, with the columns described in `metrics_table.COLUMNS`; of a run that diverged the last
            one is a step of which nothing is known.
        diverged: why there is no finite loss in the end; None where there is.
    """

    metrics: pd.DataFrame
    diverged: str | None = None


def read_result(folder: Path) -> Result:
    """What the run in this folder, which is complete, came to."""
    return Result(pd.read_csv(folder / METRICS), read_results(folder).get("diverged"))


def write_results(folder: Path, final: Mapping[str, Any], **others: str) -> None:
    """Say that the run is complete, with its last metrics and what it ran on."""
    results = {"final": final, **others, "environment": environment()}
    write_atomically(folder / RESULTS, json.dumps(results, indent=2) + "\n")


def diverged(folder: Path, reason: str) -> Result:
    """Complete the folder of a run that diverged: its metrics end with an empty step, its results tell why."""
    path = folder / METRICS
    known = pd.read_csv(path) if path.exists() else pd.DataFrame()
    last: Any = known.iloc[-1] if len(known) else {"step": 0, "epoch": 0, "seconds": 0.0}
    end = pd.DataFrame([{"step": last["step"] + 1, "epoch": last["epoch"] + 1, "seconds": last["seconds"]}])
    metrics = pd.concat([known, end], ignore_index=True).astype({"step": int, "epoch": int})
    write_atomically(path, metrics.to_csv(index=False))
    write_results(folder, {"steps": int(metrics["step"].iloc[-1]) - 1}, diverged=reason)
    return Result(metrics, reason)
