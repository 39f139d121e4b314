"""The table of a study, runs.tsv: one row for each curve and seed of each figure. Light: every worker reads it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from revgn_lab.errors import RunError
from revgn_lab.files import write_atomically

if TYPE_CHECKING:
    from revgn_lab.settings.config import RunConfig

TABLE = "runs.tsv"


@dataclass(frozen=True)
class Labels:
    """Where a run stands in figures and tables.

    Attributes:
        study, scale: which figure, or section of a page.
        dataset, setting: which panel.
        optimizer: which curve.
        seed: which run of the curve, as in the configuration.
    """

    study: str
    scale: str
    dataset: str
    setting: str
    optimizer: str
    seed: int


LABELS = tuple(each.name for each in fields(Labels))


@dataclass(frozen=True)
class Row(Labels):
    """One curve of one figure with one seed, and the run that it shows.

    Attributes:
        folder: of the run, relative to that of the study. It follows from all settings of the run: rows that need the
            same run share it.
        batch: the process that the run takes its turn in.
        threads: CPU threads of that process.
        config: all settings of the run where it has just been planned; the table leaves them to the run's folder.
    """

    folder: str
    batch: str
    threads: int
    config: "RunConfig | None" = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.study}: {self.dataset}, {self.setting}, {self.optimizer}, seed {self.seed}"


COLUMNS = tuple(each.name for each in fields(Row) if each.compare)


def write_rows(folder: Path, rows: Iterable[Row]) -> None:
    """Write the table into the folder of the study, if it says anything new."""
    table = [COLUMNS, *([str(getattr(row, name)) for name in COLUMNS] for row in rows)]
    assert not any(separator in word for line in table for word in line for separator in "\t\n"), table
    text = "".join("\t".join(line) + "\n" for line in table)
    path = folder / TABLE
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, text)


def read_rows(folder: Path) -> list[Row]:
    """The table in the folder of a study; no rows where there is none. Columns that it need not have are passed over.

    Raises:
        RunError: the file is no such table.
    """
    path = folder / TABLE
    if not path.is_file():
        return []
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        names = header.split("\t")
        if missing := [name for name in COLUMNS if name not in names]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        known = [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
        plain = [{name: row[name] for name in COLUMNS} for row in known]
        return [Row(**{**row, "seed": int(row["seed"]), "threads": int(row["threads"])}) for row in plain]  # pyright: ignore[reportArgumentType]
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{path} is not the table of a study ({error}); remove it to have it written anew, complete runs are kept"
        ) from error


def runs_of(rows: Iterable[Row]) -> list[Row]:
    """One row for each run, the first that needs it."""
    return list({row.folder: row for row in reversed(list(rows))}.values())[::-1]
