"""`revgn train TABLE --target COLUMN`: a model of a table, with nothing to tune."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revgn_lab.errors import ConfigError
from revgn_lab.files import TABLES

if TYPE_CHECKING:
    from revgn_lab.models.training import Trained

_DESCRIPTION = """\
Train networks on a table to predict one of its columns, and write the model with its card into a folder of its own.
Words, dates, gaps, decimal commas and whatever separates the columns are understood, and what was understood is said.
A fifth of the rows is set aside for the score. Nothing has to be chosen.
"""
_EXAMPLES = """\
examples:
  revgn train houses.csv --target price
  revgn train patients.parquet --target outcome --task classification --out runs/outcome
  revgn predict runs/houses new_houses.csv --out prices.csv
"""


def is_meant(words: Sequence[str]) -> bool:
    """Whether the words after `train` name a table and no configuration: as the first of them, or after options."""
    named = words[:1] if words and not words[0].startswith("-") else words[-1:]
    return any(Path(word).suffix.lower() in TABLES for word in named)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its arguments."""
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument("table", type=Path, metavar="TABLE", help=f"a file: {', '.join(TABLES)}")
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict")
    parser.add_argument("--task", choices=("regression", "classification"), help="default: as the column says")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the model; default: runs/NAME-OF-TABLE")
    parser.add_argument("--rows", type=int, metavar="N", help="take so many rows at random; default: all")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of rows and starts; default: 0")
    parser.add_argument("--networks", type=int, metavar="N", help="whose mean predicts; default: the estimator's")
    parser.add_argument("--jobs", type=int, metavar="N", help="networks fitted at the same time; default: 1")
    parser.add_argument("--overwrite", action="store_true", help="replace the model in the folder")
    parser.add_argument("--json", action="store_true", help="print scores and notes as JSON, and nothing else")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace) -> int:
    """Train on the table and say how good the model is."""
    from revgn_lab.data.tabular.reading import read_table
    from revgn_lab.models.model_folder import require_free, write_model
    from revgn_lab.models.training import Settings, train_table

    read = read_table(arguments.table)
    if arguments.target is None:
        columns = ", ".join(map(str, read.frame))
        raise ConfigError(f"no --target; name the column to predict, one of {columns}")
    folder = arguments.out or Path("runs") / arguments.table.stem
    require_free(folder, overwrite=arguments.overwrite)
    chosen = ("target", "task", "rows", "seed", "networks", "jobs")
    settings = Settings(**{name: getattr(arguments, name) for name in chosen})
    silent = arguments.quiet or arguments.json
    if not silent:
        print(f"training on {len(read.frame):,} rows of {read.path}; the model goes into {folder}/", file=sys.stderr)
    trained = train_table(read, settings, progress=not silent and sys.stderr.isatty())
    write_model(folder, trained, read)
    if arguments.json:
        print(json.dumps(_as_dict(trained, folder), indent=2))
    elif not arguments.quiet:
        print(_in_words(trained, folder))
    return 0


def _as_dict(trained: "Trained", folder: Path) -> dict[str, Any]:
    return {
        "model": str(folder),
        "target": trained.settings.target,
        "task": trained.settings.task,
        "training_rows": trained.rows,
        "test_rows": trained.test_rows,
        "scores": trained.scores,
        "notes": list(trained.notes),
    }


def _in_words(trained: "Trained", folder: Path) -> str:
    lines = [f"  {note}" for note in trained.notes]
    if lines:
        lines.insert(0, "noticed:")
    task, target = trained.settings.task, trained.settings.target
    lines.append(f"{task} of {target!r}, {trained.rows:,} rows; on {trained.test_rows:,} others:")
    width = max(map(len, trained.scores))
    for name, scores in trained.scores.items():
        measures = "  ".join(f"{measure} {value:8.4g}" for measure, value in scores.items() if measure != "seconds")
        lines.append(f"  {name:<{width}}  {measures}  {scores['seconds']:6.1f} s")
    lines.append(
        f"The model is in {folder}/, its card is {folder}/README.md; to use it: revgn predict {folder} NEW.csv"
    )
    return "\n".join(lines)
