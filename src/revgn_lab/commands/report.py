"""`revgn report`: one page on any set of runs."""

import argparse
from pathlib import Path

from revgn_lab.errors import ConfigError

SUMMARY = "write a page about runs that are there already"
_DESCRIPTION = """\
Write one page about any set of runs: verdicts on the claims of the paper, figures, numbers, settings that differ. It
opens in any browser, without network. Beside it: metrics.csv with every step of every run, claims.json with the
verdicts, and every figure in figures/ as PNG and PDF. Nothing is trained, and runs that are not complete are listed.
"""
_EXAMPLES = """\
examples:
  revgn report runs/study-all-smoke                  a study: the report goes into its folder
  revgn report runs/digits runs/digits-adam          single runs, side by side, into runs/report
  revgn report runs/cpu runs/digits --out runs/both  any mix
"""
_DEFAULT = Path("runs/report")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its arguments."""
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument(
        "folders", type=Path, metavar="DIR", nargs="*", help="of a study, of a run of revgn train, or of several"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder of the report; default: that of the study if there is just one, otherwise {_DEFAULT}",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the report and say where its page is."""
    if not arguments.folders:
        raise ConfigError("no DIR; give the folder of a study or of a run, such as runs/digits")
    from revgn_lab.report.page import write_report
    from revgn_lab.studies.rows import TABLE

    first = arguments.folders[0]
    own = len(arguments.folders) == 1 and (first / TABLE).is_file()
    page = write_report(arguments.folders, arguments.out or (first if own else _DEFAULT))
    print(f"Open {page} in a browser.")
    return 0
