"""`revgn demo`: Gauss-Newton, Adam and SGD side by side."""

import argparse
from pathlib import Path

from revgn.naming import unknown_name
from revgn_lab.commands import study
from revgn_lab.errors import ConfigError

SUMMARY = "compare Gauss-Newton with Adam and SGD, and write a page"
_DESCRIPTION = """\
Train the same reversible networks with exact Gauss-Newton, Adam and SGD, on a full batch and on mini-batches, each
with several seeds, and write one page with what came out: curves, numbers, settings. It opens in any browser, without
network. Runs that are complete are not run again, interrupted ones go on where they were. It is the study `demo`.
"""
_EXAMPLES = """\
examples:
  revgn demo
  revgn demo --dataset fashion-mnist --out runs/fashion
  revgn demo --seeds 1 2 3 4 5
"""
_SCALES = {"digits": "smoke", "fashion-mnist": "cpu"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its arguments."""
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument("--dataset", default="digits", metavar="NAME", help="digits (default) or fashion-mnist")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default: runs/demo")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="default: 42 43 44")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo and say where its page is."""
    if arguments.dataset not in _SCALES:
        raise ConfigError(unknown_name("dataset", arguments.dataset, _SCALES))
    from revgn_lab.studies.execution import Machine
    from revgn_lab.studies.expansion import expand

    rows = expand("demo", _SCALES[arguments.dataset], seeds=arguments.seeds)
    return study.conduct(rows, arguments.out, Machine())
