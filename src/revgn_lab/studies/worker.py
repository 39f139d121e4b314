"""The process that runs a batch of a study: `python -m revgn_lab.studies.worker DIR BATCH`. Snakemake starts it."""

import argparse
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from revgn_lab.errors import FolderError, RunError
from revgn_lab.runs.folders import read_config
from revgn_lab.runs.run import run
from revgn_lab.studies.locks import run_lock
from revgn_lab.studies.outcomes import is_complete, mark_done, note_of, write_note
from revgn_lab.studies.parents import end_with_parent
from revgn_lab.studies.rows import Row, read_rows, runs_of

log = logging.getLogger("revgn.study")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is not complete of a batch; the exit status is 0 if all of it is then, else 1."""
    parser = argparse.ArgumentParser(prog="python -m revgn_lab.studies.worker", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="of the study")
    parser.add_argument("batch", metavar="BATCH", help="as in the table runs.tsv")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; default: 1")
    parser.add_argument("--parent", type=int, help="process that this one is to end with; default: none")
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    if arguments.parent is not None:
        end_with_parent(arguments.parent)
    torch.set_num_threads(arguments.threads)
    return 0 if run_batch(arguments.folder, arguments.batch) else 1


def run_batch(folder: Path, batch: str) -> bool:
    """Run what is not complete of a batch, one after another; whether all of it is complete then.

    Raises:
        RunError: the table has no such batch.
    """
    rows = runs_of(row for row in read_rows(folder) if row.batch == batch)
    if not rows:
        raise RunError(f"the table of {folder} has no batch {batch!r}; take one from its column of that name")
    # One that has taken the process down with it comes last: the others shall not suffer for it.
    complete = [run_row(folder, row) for row in sorted(rows, key=lambda row: note_of(folder, row).is_file())]
    if all(complete):
        mark_done(folder, batch)
    return all(complete)


def run_row(folder: Path, row: Row) -> bool:
    """Run a row to its end, going on from what is there; whether it got there."""
    with run_lock(folder, Path(row.folder).name):
        if is_complete(folder, row):
            return True
        write_note(folder, row)
        started = time.perf_counter()
        try:
            _train(folder / row.folder)
        except Exception as error:  # whatever it is, the other runs go on
            log.exception("%s failed", row.folder)
            write_note(folder, row, f"{type(error).__name__}: {' '.join(str(error).split())}")
            return False
        note_of(folder, row).unlink(missing_ok=True)
        log.info("%s ended after %.1f s", row.folder, time.perf_counter() - started)
        return True


def _train(folder: Path) -> None:
    config = read_config(folder)
    try:
        run(config, folder, resume=True, progress=False)
    except FolderError as error:  # a damaged checkpoint: the folder is the study's own
        log.warning("%s starts over: %s", folder.name, error)
        shutil.rmtree(folder)
        run(config, folder, progress=False)


if __name__ == "__main__":
    sys.exit(main())
