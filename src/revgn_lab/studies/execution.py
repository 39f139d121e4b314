"""Running the table of a study with snakemake: here, or on a cluster by a profile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from revgn_lab.errors import RunError
from revgn_lab.files import write_atomically
from revgn_lab.runs.folders import prepare
from revgn_lab.studies.locks import study_lock
from revgn_lab.studies.outcomes import DONE, Outcome, forget_unfinished, is_complete, outcome_of
from revgn_lab.studies.progress import completion
from revgn_lab.studies.rows import Row, read_rows, runs_of, write_rows

_SNAKEFILE = Path(__file__).with_name("Snakefile")
_LOG = "snakemake.log"
DRIVER = ".driver.json"
"""Where the Snakefile finds the folder that the study was started in, and the process that it is to end with."""
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 20.0


@dataclass(frozen=True)
class Machine:
    """Where runs are run.

    Attributes:
        jobs: CPU cores to use here, or jobs at a time on a cluster; None: all cores, or what the profile says.
        profile: folder of a snakemake profile; None: this machine.
    """

    jobs: int | None = None
    profile: Path | None = None

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise RunError(f"jobs must be at least 1, got {self.jobs}")
        if self.profile is not None and not self.profile.is_dir():
            raise RunError(f"{self.profile} is no folder; --profile takes that of a snakemake profile")

    def words(self) -> list[str]:
        """For the command line of snakemake."""
        if self.profile:
            return ["--profile", str(self.profile.resolve()), *(["--jobs", str(self.jobs)] if self.jobs else [])]
        return ["--cores", str(self.jobs or os.cpu_count() or 1)]


def execute(rows: Sequence[Row], folder: Path, machine: Machine) -> list[Outcome]:
    """Run what is not complete of the rows, and of those that the folder's table has of other studies.

    Complete runs are not run again, interrupted ones go on from their checkpoints, failed ones are tried once more and
    do not stop the others. A study killed at any moment is picked up by the same call.

    Args:
        rows: of a study at a scale; they replace those that the table has of it.
        folder: of the study.
        machine: where.

    Returns:
        The outcome of every run in the table.

    Raises:
        RunError: another study is at work in the folder, or snakemake cannot do its work.
        OSError: the folder cannot be written to.
    """
    if not find_spec("snakemake"):
        raise RunError("snakemake is not installed, which runs the studies; pip install 'revgn[study]'")
    with study_lock(folder):
        table = [*_others(rows, read_rows(folder)), *rows]
        write_rows(folder, table)
        runs = runs_of(table)
        pending = [row for row in runs if not is_complete(folder, row)]
        if pending:
            for row in pending:
                if row.config is not None:  # else it was written with the row
                    prepare(folder / row.folder, row.config)
            forget_unfinished(folder, pending)
            status = _snakemake(folder.resolve(), pending, machine, total=len(runs))
            _require_some_work(folder, pending, status)
        return [outcome_of(folder, row) for row in runs]


def _others(rows: Sequence[Row], table: Sequence[Row]) -> list[Row]:
    """What the table has of other studies, in batches that new rows do not share."""
    named = {(row.study, row.scale) for row in rows}
    batches = {row.folder: row.batch for row in rows}
    others = [row for row in table if (row.study, row.scale) not in named]
    return [replace(row, batch=batches.get(row.folder, row.batch)) for row in others]


def _snakemake(folder: Path, pending: Sequence[Row], machine: Machine, *, total: int) -> int:
    """Have snakemake make the pending batches; its exit status."""
    batches = dict.fromkeys(row.batch for row in pending)
    words = [
        *(sys.executable, "-m", "snakemake", *(f"{DONE}/{batch}" for batch in batches)),
        *("--snakefile", str(_SNAKEFILE), "--directory", str(folder)),
        *("--keep-going", "--rerun-incomplete", "--scheduler", "greedy", "--rerun-triggers", "mtime"),
        "--nolock",  # one of ours is held already, which a kill releases
        *machine.words(),
    ]
    write_atomically(folder / DRIVER, json.dumps([str(Path.cwd()), os.getpid()]))
    with (folder / _LOG).open("wb") as log:
        # In a session of its own, so that Ctrl-C reaches it once and from here.
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return _follow(process, folder, pending, total=total)
        finally:
            _end(process)


def _follow(process: "subprocess.Popen[bytes]", folder: Path, pending: Sequence[Row], *, total: int) -> int:
    """Wait for the end, showing how many runs are complete."""
    left = set(pending)
    with completion(total, total - len(left)) as show:
        ended = False
        while not ended:
            ended = process.poll() is not None
            left = {row for row in left if not is_complete(folder, row)}
            show(total - len(left))
            if not ended:
                time.sleep(_POLL_SECONDS)
    return process.wait()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let snakemake end its jobs, and then it; workers end with it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_GRACE_SECONDS)
        except BaseException:
            process.kill()
            process.wait()
            raise


def _require_some_work(folder: Path, pending: Sequence[Row], status: int) -> None:
    """Raise RunError if snakemake ended badly before any run was even tried: then the runs are not to blame."""
    outcomes = [outcome_of(folder, row) for row in pending]
    if status and not any(outcome.complete or outcome.failed for outcome in outcomes):
        lines = (folder / _LOG).read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        raise RunError(f"snakemake ended with status {status}: {last.strip()}; see {folder / _LOG}")
