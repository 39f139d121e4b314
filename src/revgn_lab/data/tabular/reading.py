"""A file as a data frame: separator, decimal comma, thousands, encoding are found out, and said."""

import csv
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from revgn_lab.data.data_error import DataError
from revgn_lab.data.tabular.frames import Frame, pd
from revgn_lab.data.tabular.numbers import numbers_in
from revgn_lab.files import TABLES, TEXT_TABLES

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_LOOKED_AT = 200  # lines that the separator is found by
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it was read.

    Attributes:
        path: of its file.
        frame: columns of numbers (float64 or integers), of booleans and of words (object; None where there is nothing).
        notes: what was found out about the file, a line each.
    """

    path: Path
    frame: Frame
    notes: list[str] = field(default_factory=list[str])


def read_table(path: Path) -> Table:
    """Read a table of any supported kind.

    Raises:
        DataError: the file cannot be read as a table; the message says why in a line.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        raise DataError(f"{path}: unknown kind of file {suffix!r}, expected one of {', '.join(TABLES)}; convert it")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; check the path")
    notes: list[str] = []
    try:
        frame = _text(path, notes) if suffix in TEXT_TABLES else _binary(path, suffix)
    except DataError:
        raise
    except Exception as error:  # pandas, pyarrow and numpy raise a dozen kinds of error for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not a readable {suffix[1:]} file ({reason}); check or replace it") from error
    _require_content(path, frame)
    frame = frame.replace([np.inf, -np.inf], np.nan)
    return Table(path, _without_row_numbers(path, frame, notes), notes)


def _binary(path: Path, suffix: str) -> Frame:
    if suffix == ".parquet":
        frame = pd.read_parquet(path).rename(columns=str)
        # Words as objects, decoded now: pyarrow finds letters that are damaged only when they are asked for.
        return frame.astype(dict.fromkeys(frame.select_dtypes("string"), object))
    # Opened here, because numpy leaves the file open when it finds it damaged. A pickle can run any code it likes.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    columns: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.ndim not in (1, 2):
            raise DataError(f"{path}: array {name!r} has shape {array.shape}; expected one or two dimensions")
        text = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array  # b"a" is the word a
        wide = text.ndim == 2 and text.shape[1] != 1  # (n, 1) is a column
        columns |= {f"{name}_{i}": part for i, part in enumerate(text.T)} if wide else {name: text.reshape(len(text))}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: arrays differ in length ({', '.join(f'{n} {k}' for n, k in lengths.items())})")
    return pd.DataFrame(columns)


def _text(path: Path, notes: list[str]) -> Frame:
    text = _decoded(path, notes)
    lines = [line for line in islice(io.StringIO(text), _LOOKED_AT) if line.strip()]
    if not lines:
        raise DataError(f"{path}: is empty, expected names of columns in the first line and rows below; replace it")
    given = lines[0].strip().lower().startswith("sep=")  # as Excel writes it
    separator = lines[0].strip()[4:5] if given else _separator(lines)
    if separator != ",":
        notes.append(f"columns are separated by {_SEPARATORS.get(separator, repr(separator))}")
    names = next(csv.reader([lines[1 if given else 0]], delimiter=separator))
    _require_names(path, names)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                io.StringIO(text),
                sep=separator,
                skiprows=1 if given else 0,
                dtype=str,
                keep_default_na=False,  # NA may be a word: whether it is, its column tells
                index_col=False,  # no column is taken for names of rows
                skipinitialspace=True,
            )
        except pd.errors.ParserWarning as error:
            raise DataError(
                f"{path}: rows have more fields than the {len(names)} names of the first line; name every column"
            ) from error
    frame.columns = [name.strip() for name in names]
    return numbers_in(frame, notes, separator=separator)


def _decoded(path: Path, notes: list[str]) -> str:
    content = path.read_bytes()
    if b"\x00" in content[:1000] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: holds bytes that are no text; export it as CSV or Parquet")
    encoding = next((name for mark, name in _BOMS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        notes.append("letters are those of Windows (cp1252), not UTF-8")
        return content.decode("cp1252", errors="replace")


def _separator(lines: Sequence[str]) -> str:
    """The one that splits the most lines alike, of those the one that splits them into the most."""

    def quality(separator: str) -> tuple[float, int]:
        counts = [len(fields) for fields in csv.reader(lines, delimiter=separator)]
        width = max(set(counts), key=counts.count)
        return (counts.count(width) / len(counts), width) if width > 1 else (0.0, 1)

    return max(_SEPARATORS, key=quality)


def _require_names(path: Path, names: Sequence[str]) -> None:
    cleaned = [name.strip() for name in names]
    twice = [name for name in cleaned if name and cleaned.count(name) > 1]
    if twice:
        raise DataError(f"{path}: the first line names column {twice[0]!r} twice; rename one of them")
    if all(_is_number(name) for name in cleaned):
        raise DataError(f"{path}: the first line holds numbers, expected names of columns; add a line of names")
    nameless = [place for place, name in enumerate(cleaned) if not name and place > 0]
    if nameless:
        raise DataError(f"{path}: column {nameless[0] + 1} has no name in the first line; name it")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _require_content(path: Path, frame: Frame) -> None:
    if frame.empty:
        what = "no rows below the names of columns" if len(frame.columns) else "no columns"
        raise DataError(f"{path}: has {what}, expected a table with at least a few; check or replace it")


def _without_row_numbers(path: Path, frame: Frame, notes: list[str]) -> Frame:
    """Without a first column that has no name, if it numbers the rows, as pandas and R write it."""
    if frame.columns[0] != "":
        return frame
    first = pd.to_numeric(frame.iloc[:, 0], errors="coerce")
    if not (first.diff().iloc[1:] == 1).all():
        raise DataError(f"{path}: column 1 has no name in the first line; name it")
    notes.append("the first column, which has no name, numbers the rows and is left out")
    return frame.iloc[:, 1:]
