"""`revgn bench`: the benchmarks behind every claim about speed and memory, by name."""

import argparse
import ast
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import revgn_lab
from revgn.naming import unknown_name
from revgn_lab.errors import ConfigError

SUMMARY = "measure what is claimed about speed and memory"
_DESCRIPTION = """\
Run a benchmark: it prints a table and writes it, with machine and versions, as JSON into runs/benchmarks.
Without NAME: the list of benchmarks.
"""
_EXAMPLES = """\
examples:
  revgn bench                            which benchmarks there are
  revgn bench quick                      operations counted, and ratios to SGD, in under a minute
  revgn bench step mnist --pairs 9       a step beside SGD's and Adam's, in the setting of the authors
  revgn bench scaling --plot docs        with a picture of what was measured
  revgn bench scaling --help             the options of a benchmark
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its arguments."""
    parser.usage = "revgn bench [NAME [OPTION ...]]"
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument("name", metavar="NAME", nargs="?", help="a benchmark; without it they are listed")
    parser.add_argument("options", metavar="OPTION", nargs=argparse.REMAINDER, help="of that benchmark")


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    """List the benchmarks, or run one in an interpreter of its own and return its exit status."""
    if rest:
        raise ConfigError(f"unrecognized arguments: {' '.join(rest)}; options of a benchmark come after its NAME")
    known = benchmarks(benchmarks_folder())
    if arguments.name is None:
        width = max(map(len, known))
        for name, question in known.items():
            print(f"{name:{width}}  {question}")
        return 0
    if arguments.name not in known:
        raise ConfigError(unknown_name("benchmark", arguments.name, known))
    path = benchmarks_folder() / f"{arguments.name}.py"
    return subprocess.run([sys.executable, str(path), *arguments.options], check=False).returncode


def benchmarks_folder() -> Path:
    """Where the benchmarks lie: beside `src` in a checkout, in the package where that was installed from a wheel.

    Raises:
        ConfigError: in neither.
    """
    package = Path(revgn_lab.__file__).resolve().parent
    places = [package.parents[1] / "benchmarks", package / "benchmarks"]
    for place in places:
        if (place / "measure.py").is_file():
            return place
    raise ConfigError(f"no benchmarks in {' or '.join(map(str, places))}; run this in a checkout of the project")


def benchmarks(folder: Path) -> Mapping[str, str]:
    """Name and question of each benchmark: of the files that have a `main`. They are read, not imported."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found
