"""Numbers in columns of text, however their decimals and thousands are marked."""

import re
from dataclasses import dataclass

from revgn_lab.data.tabular.frames import Column, Frame, pd

WORDS_FOR_NOTHING = ("", "na", "n/a", "#n/a", "nan", "-nan", "none", "null", "?", "-")


@dataclass(frozen=True)
class Style:
    """A way to write numbers.

    Attributes:
        decimal: mark before the decimals.
        thousands: mark between groups of three digits; empty for none.
        says: what to tell of it.
    """

    decimal: str
    thousands: str
    says: str

    def marks_it(self, text: Column) -> Column:
        """Where a number is written in a way that only this style explains."""
        d, t = re.escape(self.decimal), re.escape(self.thousands)
        grouped = rf"[-+]?\d{{1,3}}(?:{t}\d{{3}})+{d}\d+" if t else None
        plain = rf"[-+]?\d*{d}\d+(?:[eE][-+]?\d+)?"
        return text.str.fullmatch(grouped or plain)

    def parsed(self, text: Column) -> Column:
        """The numbers, NaN where there is none written this way."""
        if self.thousands:
            t, d = re.escape(self.thousands), re.escape(self.decimal)
            fits = text.str.fullmatch(rf"[-+]?\d{{1,3}}(?:{t}\d{{3}})+(?:{d}\d+)?|[-+]?\d*(?:{d}\d+)?(?:[eE][-+]?\d+)?")
            text = text.where(fits).str.replace(self.thousands, "", regex=False)
        if self.decimal != ".":
            text = text.where(~text.str.contains(".", regex=False, na=False))
            text = text.str.replace(self.decimal, ".", regex=False)
        return pd.to_numeric(text, errors="coerce")


_PLAIN = Style(".", "", "")
# The more a style explains that no other does, the earlier: 1.234,5 has a decimal comma whatever else there is.
_STYLES = (
    Style(",", ".", "numbers have a decimal comma, and points between thousands"),
    Style(".", ",", "numbers have commas between thousands"),
    Style(",", " ", "numbers have a decimal comma, and spaces between thousands"),
    Style(".", " ", "numbers have spaces between thousands"),
    Style(",", "", "numbers have a decimal comma"),
)


def numbers_in(frame: Frame, notes: list[str], *, separator: str) -> Frame:
    """The frame with numbers where its columns of text hold nothing else; words stay, None where there is nothing.

    Args:
        frame: columns of text.
        notes: what was found out is added to them.
        separator: of the file's columns.
    """
    columns = {name: frame[name].str.strip() for name in frame}
    absent = {name: _is_nothing(column) for name, column in columns.items()}
    style = _style_of(columns, absent, separator)
    converted: dict[str, Column] = {}
    for name, column in columns.items():
        numbers = _numbers(column.mask(absent[name]), style)
        is_number = numbers is not None and bool(numbers.notna().any())
        converted[name] = numbers if numbers is not None and is_number else _words(column)
    if style is not _PLAIN:
        notes.append(style.says)
    return pd.DataFrame(converted)


def _is_nothing(column: Column) -> Column:
    return column.str.lower().isin(WORDS_FOR_NOTHING)


def _numbers(column: Column, style: Style) -> Column | None:
    """The column as numbers; None if it holds anything else."""
    for way in dict.fromkeys((_PLAIN if style.decimal == "." else style, style)):
        numbers = pd.to_numeric(column, errors="coerce") if way is _PLAIN else way.parsed(column)
        if (numbers.notna() | column.isna()).all():
            return numbers
    return None


def _style_of(columns: dict[str, Column], absent: dict[str, Column], separator: str) -> Style:
    """The style of the file: the one that its numbers need, if plain numbers do not explain them."""
    unexplained = [
        text
        for name, column in columns.items()
        if len(text := column[~absent[name]]) and pd.to_numeric(text, errors="coerce").isna().any()
    ]
    # A comma within a field of a file of commas is between thousands, if it can be.
    styles = sorted(_STYLES, key=lambda style: style.decimal == separator)
    certain = (
        s for s in styles if any(s.marks_it(text).any() and s.parsed(text).notna().all() for text in unexplained)
    )
    possible = (s for s in styles if any(s.parsed(text).notna().all() for text in unexplained))
    return next(certain if separator != "," else possible, None) or next(possible, _PLAIN)


def _words(column: Column) -> Column:
    """A column of words, with None for what is empty, or of booleans; NA among words is one, as that of Namibia."""
    lower = column.str.lower()
    if lower.isin(("true", "false")).all():
        return lower == "true"
    return column.astype(object).where(column != "", None)
