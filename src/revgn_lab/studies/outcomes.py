"""How the runs of a study have ended, as their folders tell."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from revgn_lab.files import write_atomically
from revgn_lab.runs.folders import State, read_results, state_of
from revgn_lab.studies.rows import Row

DONE = "done"
"""Folder of empty files, one for each batch whose runs are all complete: what snakemake makes."""
_NOTES = "failures"
_STARTED = "started and not ended: at work still, killed, or out of memory"


@dataclass(frozen=True)
class Outcome:
    """How far a run has come.

    Attributes:
        row: the run.
        complete: whether it has ended, by divergence too.
        diverged: why, if it has.
        failed: why it has not ended, if it was tried.
    """

    row: Row
    complete: bool
    diverged: str | None = None
    failed: str | None = None


def outcome_of(folder: Path, row: Row) -> Outcome:
    """How far a row's run has come in the folder of the study."""
    if is_complete(folder, row):
        return Outcome(row, complete=True, diverged=read_results(folder / row.folder).get("diverged"))
    note = note_of(folder, row)
    return Outcome(row, complete=False, failed=note.read_text(encoding="utf-8") if note.is_file() else None)


def is_complete(folder: Path, row: Row) -> bool:
    """Whether the row's run has ended and need not be run again."""
    return state_of(folder / row.folder) is State.COMPLETE


def write_note(folder: Path, row: Row, reason: str = _STARTED) -> None:
    """Write down why the run has not ended; before it is tried, for the case that the process dies in it."""
    write_atomically(note_of(folder, row), reason)


def mark_done(folder: Path, batch: str) -> None:
    """Say that all runs of the batch are complete."""
    write_atomically(folder / DONE / batch, "")


def forget_unfinished(folder: Path, pending: Iterable[Row]) -> None:
    """Begin anew with these runs: no failures noted, none of their batches done."""
    for row in pending:
        note_of(folder, row).unlink(missing_ok=True)
        (folder / DONE / row.batch).unlink(missing_ok=True)


def note_of(folder: Path, row: Row) -> Path:
    """The file that says why the run has not ended, if it was tried."""
    return folder / _NOTES / f"{Path(row.folder).name}.txt"
