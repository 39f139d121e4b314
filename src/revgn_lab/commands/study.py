"""`revgn study`: the experiments of the paper, each a grid of runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from revgn_lab.errors import ConfigError
from revgn_lab.settings.shipped import shipped_studies

if TYPE_CHECKING:
    from revgn_lab.studies.execution import Machine
    from revgn_lab.studies.outcomes import Outcome
    from revgn_lab.studies.rows import Row

SUMMARY = "run an experiment of the paper, and report on it"
_DESCRIPTION = """\
Run an experiment of the paper, a grid of runs, and write a page with its figures and with a verdict on every claim.
Runs that are complete are not run again, interrupted ones go on where they were, failed ones are tried once more, and a
study that was killed is picked up by the same command.
"""
_EPILOG = """\
examples:
  revgn study full-batch --scale smoke       see all of it work, in a minute
  revgn study all --scale cpu --out runs/cpu
  revgn study all --scale paper --profile slurm/   on a cluster, by a profile of snakemake
  revgn study my-study.yaml --dry-run        what would be run
  revgn study --list                         studies and scales, a line each

studies: {studies}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its arguments."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG.format(studies=", ".join(shipped_studies()))
    parser.add_argument("name", metavar="NAME", nargs="?", help="a study of those below, or a YAML file of your own")
    parser.add_argument("--scale", default="smoke", metavar="SCALE", help="smoke (default), cpu or paper")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/study-NAME-SCALE")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="CPU cores to use, or jobs at a time on a cluster; default: all cores"
    )
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="of snakemake, for SLURM, Kubernetes, ...")
    parser.add_argument("--dry-run", action="store_true", help="print the table of runs, and run nothing")
    parser.add_argument("--list", action="store_true", help="print studies and scales, a line each")


def run(arguments: argparse.Namespace) -> int:
    """Run the study and say where its page is; the exit status is 1 if runs have failed."""
    if arguments.list:
        return _list()
    if not arguments.name:
        raise ConfigError(f"no NAME; give the path of a YAML file or one of {', '.join(shipped_studies())}")
    from revgn_lab.studies.execution import Machine
    from revgn_lab.studies.expansion import expand

    rows = expand(arguments.name, arguments.scale)
    folder = arguments.out or Path("runs") / f"study-{Path(arguments.name).stem}-{arguments.scale}"
    if arguments.dry_run:
        return _print_table(rows, folder)
    return conduct(rows, folder, Machine(arguments.jobs, arguments.profile))


def conduct(rows: "Sequence[Row]", folder: Path, machine: "Machine") -> int:
    """Run the rows and write their page; the exit status is 1 if runs have failed."""
    from revgn_lab.studies.execution import execute

    outcomes = execute(rows, folder, machine)
    from revgn_lab.report.page import write_report

    page = write_report([folder], folder)
    diverged = sum(outcome.diverged is not None for outcome in outcomes)
    ended = f", of which {diverged} diverged" if diverged else ""
    failed = [outcome for outcome in outcomes if not outcome.complete]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} runs are complete{ended}.")
    for outcome in failed:
        print(_failure(outcome, folder), file=sys.stderr)
    print(f"Open {page} in a browser.")
    return 1 if failed else 0


def _list() -> int:
    from revgn_lab.studies.grids import SCALES, find_study

    print("studies:")
    for name in shipped_studies():
        print(f"  {name:<15} {find_study(name).summary}")
    print("scales:")
    for name, summary in SCALES.items():
        print(f"  {name:<15} {summary}")
    return 0


def _print_table(rows: "Sequence[Row]", folder: Path) -> int:
    from revgn_lab.studies.outcomes import is_complete
    from revgn_lab.studies.rows import runs_of

    runs = runs_of(rows)
    complete = {row.folder for row in runs if is_complete(folder, row)}
    for row in rows:
        print("\t".join(("complete" if row.folder in complete else "to do", row.name, row.folder)))
    print(f"{len(rows)} curves of {len(runs)} runs, of which {len(complete)} are complete in {folder}")
    return 0


def _failure(outcome: "Outcome", folder: Path) -> str:
    """A failed run: its name, why, and where to look."""
    row = outcome.row
    reason = outcome.failed or "it was not started; repeat the command"
    return f"failed: {row.name}: {reason} ({folder / row.folder}, {folder / 'logs' / row.batch}.log)"
