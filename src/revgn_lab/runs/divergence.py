"""A run that diverged is a result too, and is recorded as one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from revgn_lab.files import write_atomically
from revgn_lab.runs.environment import environment
from revgn_lab.runs.folders import METRICS, RESULTS


def metrics_of_diverged(folder: Path) -> pd.DataFrame:
    """What a diverged run has written, and a last step of which nothing is known."""
    known = pd.read_csv(folder / METRICS) if (folder / METRICS).exists() else pd.DataFrame()
    last: Mapping[str, Any] = {"step": 0, "epoch": 0, "seconds": 0.0}
    if len(known):
        last = known.iloc[-1]
    end = pd.DataFrame([{"step": last["step"] + 1, "epoch": last["epoch"] + 1, "seconds": last["seconds"]}])
    return pd.concat([known, end], ignore_index=True).astype({"step": int, "epoch": int})


def record_divergence(folder: Path, reason: str) -> None:
    """Complete the folder of a diverged run: its metrics end with an empty step, its results tell why."""
    metrics = metrics_of_diverged(folder)
    write_atomically(folder / METRICS, metrics.to_csv(index=False))
    final = {"steps": int(metrics["step"].iloc[-1]) - 1}
    results = {"final": final, "diverged": reason, "environment": environment()}
    write_atomically(folder / RESULTS, json.dumps(results, indent=2) + "\n")
