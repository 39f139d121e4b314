"""`revgn predict`: what a model of `revgn train TABLE` says of a new table."""

import argparse
import json
import sys
from pathlib import Path

SUMMARY = "predict a column of a new table, by a model of revgn train"
_DESCRIPTION = """\
Predict for each row of a table, and write the predictions as CSV: of a quantity with the standard deviation of a new
observation (90 % of them lie within 1.645 of it), of classes with the probability of each.
"""
_EXAMPLES = """\
examples:
  revgn predict runs/houses new_houses.csv
  revgn predict runs/houses new_houses.csv --out prices.csv
  revgn predict runs/houses new_houses.csv --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its arguments."""
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of the model")
    parser.add_argument("table", type=Path, metavar="TABLE", help="CSV, TSV, Parquet or NPZ, with the model's columns")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the CSV there; default: print it")
    parser.add_argument("--json", action="store_true", help="print the predictions as JSON")
    parser.add_argument("--quiet", action="store_true", help="do not say what was noticed")


def run(arguments: argparse.Namespace) -> int:
    """Predict, and write or print it."""
    from revgn_lab.data.tabular.reading import read_table
    from revgn_lab.files import write_atomically
    from revgn_lab.models.model_folder import read_model
    from revgn_lab.models.predicting import predict

    model = read_model(arguments.model)
    table = read_table(arguments.table)
    predictions, notes = predict(model, table)
    if not arguments.quiet:
        for note in notes:
            print(f"revgn: {note}", file=sys.stderr)
    if arguments.json:
        text = json.dumps(predictions.to_dict(orient="list"), indent=2) + "\n"
    else:
        text = predictions.to_csv(index=False)
    if arguments.out is None:
        print(text, end="")
    else:
        write_atomically(arguments.out, text)
        if not arguments.quiet:
            print(f"{len(predictions):,} predictions are in {arguments.out}")
    return 0
