"""What every benchmark does at its start and at its end: options, a table, checks, and a JSON file."""

import argparse
import json
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from revgn.naming import unknown_name
from revgn_lab.files import write_atomically
from revgn_lab.runs.environment import environment

Row = dict[str, Any]
Key = TypeVar("Key", bound=Hashable)

OUT = Path("runs/benchmarks")


@dataclass(frozen=True)
class Column:
    """A column of the printed table: a key of the rows, its heading, the format of its values, and its width."""

    key: str
    heading: str
    form: str = ""
    width: int = 9

    def text(self, row: Row) -> str:
        """The cell of a row: words to the left, numbers to the right."""
        value = row.get(self.key)
        if value is None:
            return " " * self.width
        return f"{value:<{self.width}}" if isinstance(value, str) else f"{format(value, self.form):>{self.width}}"


def columns_beside(baseline: str, form: str = ".2f") -> list[Column]:
    """The columns of `measure.Times.beside`: seconds, and the ratio to a baseline with its range."""
    return [
        Column("seconds", "seconds", ".3f"),
        Column("ratio", f"of {baseline}", form, 7),
        Column("lowest", "from", form, 6),
        Column("highest", "to", form, 6),
    ]


@dataclass(frozen=True)
class Check:
    """A promise about the figures, and whether they keep it.

    Attributes:
        claim: in words, with its limit.
        value: what was measured; None if it was not measured this time.
        met: whether the claim holds; None likewise.
    """

    claim: str
    value: float | None
    met: bool | None

    def __str__(self) -> str:
        verdict = {True: "met", False: "NOT MET", None: "not measured"}[self.met]
        return f"{verdict:12} {self.claim}" + ("" if self.value is None else f": {self.value:.3g}")


def at_most(claim: str, value: float | None, limit: float) -> Check:
    """A check that holds when the value is no larger than the limit."""
    return Check(f"{claim} <= {limit:g}", value, None if value is None else value <= limit)


def at_least(claim: str, value: float | None, limit: float) -> Check:
    """A check that holds when the value is no smaller than the limit."""
    return Check(f"{claim} >= {limit:g}", value, None if value is None else value >= limit)


@dataclass(frozen=True)
class Result:
    """What a benchmark found: the rows of its table, checks of its claims, and lines worth saying."""

    rows: list[Row]
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Benchmark:
    """The frame of a benchmark: the options that all have, the printed table, OUT/NAME.json and NAME.png.

    Args:
        file: the benchmark's own path, `__file__`; its stem is its name.
        description: its docstring, whose first line is the question that it answers.
        columns: of the printed table.
        figure: draws the picture from what the JSON file holds; None if there is nothing to draw.
    """

    def __init__(
        self,
        file: str,
        description: str | None,
        columns: Sequence[Column],
        figure: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:
        self.name = Path(file).stem
        self.description = description or ""
        self.columns = columns
        self.figure = figure

    @property
    def picture(self) -> str:
        """The file name of the picture."""
        return f"{self.name.replace('_', '-')}.png"

    def parser(self) -> argparse.ArgumentParser:
        """A parser with the options that every benchmark has."""
        parser = argparse.ArgumentParser(
            prog=f"{self.name}.py", description=self.description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add = parser.add_argument
        add(
            "--out", type=Path, default=Path("runs/benchmarks"), metavar="DIR", help="of the JSON; default: %(default)s"
        )
        add("--tiny", action="store_true", help="sizes that take seconds and mean nothing: for tests")
        if self.figure is not None:
            add("--plot", type=Path, metavar="FOLDER", help=f"draw {self.picture} there")
            add("--redraw", action="store_true", help="draw from the JSON file; measure nothing")
        return parser

    def run(self, arguments: argparse.Namespace, measure: Callable[[], Result]) -> Mapping[str, Any]:
        """Measure, print, write the JSON file and draw the picture; returns what the file holds."""
        redraw = getattr(arguments, "redraw", False)
        content = self._read(self._path(arguments)) if redraw else self._measured(arguments, measure)
        folder = getattr(arguments, "plot", None)
        if self.figure is not None and folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.figure(content).savefig(folder / self.picture, dpi=130)
            print(f"Drawn into {folder / self.picture}.")
        return content

    def head(self) -> None:
        """Print the headings."""
        print("  ".join(f"{column.heading:{column.width}}" for column in self.columns).rstrip(), flush=True)

    def show(self, rows: Iterable[Row]) -> None:
        """Print rows of the table."""
        for row in rows:
            print("  ".join(column.text(row) for column in self.columns).rstrip(), flush=True)

    def kept(self, arguments: argparse.Namespace) -> list[Row]:
        """The rows that the JSON file holds from earlier runs."""
        path = self._path(arguments)
        return self._read(path)["rows"] if path.is_file() else []

    def complete(
        self,
        arguments: argparse.Namespace,
        rows: dict[Key, Row],
        plans: Mapping[Key, Row],
        measured: Callable[[Key], Row],
        result_of: Callable[[Mapping[Key, Row]], Result],
        *,
        anew: bool = False,
    ) -> Result:
        """Measure what is not there by the same plan; each row is shown, and written as soon as it is there.

        Args:
            arguments: of the command line.
            rows: what is there, which the new rows join.
            plans: of the rows that are wanted: all that decides what a row holds, but for the code.
            measured: makes a row.
            result_of: what is written, from all rows that are there.
            anew: whether to measure also what is there.
        """
        began = time.perf_counter()
        for key, plan in plans.items():
            if anew or key not in rows or rows[key]["plan"] != plan:
                rows[key] = measured(key) | {"plan": plan}
                self.save(arguments, result_of(rows), time.perf_counter() - began)
            self.show([rows[key]])
        return result_of(rows)

    def save(self, arguments: argparse.Namespace, result: Result, seconds: float) -> Row:
        """Write the JSON file; returns what it holds."""
        options = {name: value for name, value in vars(arguments).items() if name not in ("out", "plot", "redraw")}
        content = {
            "benchmark": self.name,
            "question": self.description.partition("\n")[0],
            "environment": environment(),
            "options": options,
            "seconds": seconds,
            "rows": result.rows,
            "notes": result.notes,
            "checks": [asdict(check) for check in result.checks],
        }
        write_atomically(self._path(arguments), json.dumps(content, indent=2) + "\n")
        return content

    def _path(self, arguments: argparse.Namespace) -> Path:
        return arguments.out / f"{self.name}.json"

    def _measured(self, arguments: argparse.Namespace, measure: Callable[[], Result]) -> Row:
        self.head()
        start = time.perf_counter()
        result = measure()
        content = self.save(arguments, result, time.perf_counter() - start)
        for line in (*result.notes, *map(str, result.checks), f"Written to {self._path(arguments)}."):
            print(line)
        return content

    def _read(self, path: Path) -> Row:
        if not path.is_file():
            raise SystemExit(f"{self.name}.py: error: {path} is not there to draw from; run once without --redraw")
        return json.loads(path.read_text())


def require_known(parser: argparse.ArgumentParser, kind: str, given: Iterable[str], known: Iterable[str]) -> None:
    """End with a parser's error at the first name that is not known, which offers the nearest."""
    for name in given:
        if name not in known:
            parser.error(unknown_name(kind, name, known))
