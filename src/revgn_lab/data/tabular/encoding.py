"""Columns of a table as inputs of a network, by a plan that is found once and stored with the model as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from revgn_lab.data.data_error import DataError
from revgn_lab.data.tabular.frames import Column, Frame, pd

RAREST = 0.01
"""Of the rows: words that fewer have share a column, as do words that the model has never seen."""
_MOST_DISTINCT = 0.5  # of the rows: a column with more words than that names rows
_FEW_ROWS = 20  # too few to say that a column names or numbers them
_DAY = 86_400.0
_FORMATS = (("ISO8601", "ISO dates"), ("%d.%m.%Y", "day.month.year"), ("%d/%m/%Y", "day/month/year"))
_AMERICAN = ("%m/%d/%Y", "month/day/year")


@dataclass(frozen=True)
class ColumnPlan:
    """How one column becomes inputs.

    Attributes:
        name: of the column.
        kind: "number", "words" or "date".
        fill: what stands for a missing number, the median of those there are.
        gaps: whether a column of its own tells where there was none.
        words: that have a column each.
        format: of dates.
    """

    name: str
    kind: Literal["number", "words", "date"]
    fill: float = 0.0
    gaps: bool = False
    words: tuple[str, ...] = ()
    format: str = ""


@dataclass(frozen=True)
class Encoding:
    """How a table becomes inputs, and what is left out of it.

    Attributes:
        columns: in their order.
        notes: why columns were left out or how they were understood, a line each.
    """

    columns: tuple[ColumnPlan, ...]
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Encoding":
        """From JSON."""
        plans: list[dict[str, Any]] = [{**plan, "words": tuple(plan["words"])} for plan in stored["columns"]]
        return cls(tuple(ColumnPlan(**plan) for plan in plans), tuple(stored["notes"]))

    @property
    def input_names(self) -> list[str]:
        """What the inputs are called, in their order."""
        return [name for plan in self.columns for name in _names(plan)]

    def inputs(self, frame: Frame, *, source: str, notes: list[str] | None = None) -> NDArray[np.float64]:
        """The inputs (n, d) of a table, float64.

        Args:
            frame: with the columns of the plan; others are not looked at.
            source: what messages call the table.
            notes: what was noticed is added to them.

        Raises:
            DataError: a column is missing, or does not hold what it did.
        """
        missing = [plan.name for plan in self.columns if plan.name not in frame]
        if missing:
            raise DataError(
                f"{source}: lacks {', '.join(map(repr, missing))}, which the model was trained with; add it"
            )
        said: list[str] = [] if notes is None else notes
        return np.column_stack([_inputs(plan, frame[plan.name], source, said) for plan in self.columns])


def plan_encoding(frame: Frame, *, source: str) -> Encoding:
    """How these columns become inputs, as their values say.

    Numbers stay numbers, with the median in gaps; words that at least 1 % of the rows have get a column of zeros and
    ones each; dates become days since 1970. Empty columns and words that name the rows are left out.

    Raises:
        DataError: no column is left.
    """
    notes: list[str] = []
    plans = [plan for name in frame if (plan := _plan(str(name), frame[name], notes)) is not None]
    if not plans:
        raise DataError(f"{source}: no column tells rows apart ({'; '.join(notes) or 'there is none'}); add inputs")
    return Encoding(tuple(plans), tuple(notes))


def without_idle_columns(frame: Frame, notes: list[str]) -> Frame:
    """The columns but for those that say nothing: constant ones, and those that number the rows from 0 or 1."""
    idle = {name: reason for name in frame if (reason := _idle(frame[name]))}
    notes += [f"{name!r} {reason} and is left out" for name, reason in idle.items()]
    return frame.drop(columns=list(idle))


def _idle(column: Column) -> str:
    """Why a column says nothing; empty if it says something."""
    if column.notna().all() and column.nunique() == 1:
        return "is the same in all rows"
    return "numbers the rows" if _counts_rows(column) else ""


def _plan(name: str, column: Column, notes: list[str]) -> ColumnPlan | None:
    known = column.dropna()
    if known.empty:
        notes.append(f"{name!r} is empty and is left out")
        return None
    if pd.api.types.is_datetime64_any_dtype(column):
        return ColumnPlan(name, "date", fill=_median(_days(column, "")), gaps=bool(column.isna().any()))
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        if column.isna().any():
            notes.append(f"{name!r} has {int(column.isna().sum()):,} gaps, filled by its median and marked")
        return ColumnPlan(name, "number", fill=_median(column), gaps=bool(column.isna().any()))
    return _date_plan(name, known, column, notes) or _word_plan(name, known, column, notes)


def _date_plan(name: str, known: Column, column: Column, notes: list[str]) -> ColumnPlan | None:
    words = known.astype(str)
    if not words.str.contains(r"\d{4}").all() or not words.str.contains(r"\d[-/.]\d").all():
        return None
    fitting = [(form, says) for form, says in (*_FORMATS, _AMERICAN) if _days(words, form).notna().all()]
    if not fitting:
        return None
    form, says = fitting[0]
    doubt = f" (not {_AMERICAN[1]}, which would fit too)" if form != _AMERICAN[0] and _AMERICAN in fitting else ""
    notes.append(f"{name!r} holds dates, read as {says}{doubt}: days since 1970")
    return ColumnPlan(name, "date", _median(_days(words, form)), bool(column.isna().any()), format=form)


def _word_plan(name: str, known: Column, column: Column, notes: list[str]) -> ColumnPlan | None:
    words = _as_words(column)
    if known.nunique() > _MOST_DISTINCT * len(column) and len(column) > _FEW_ROWS:
        notes.append(f"{name!r} has {known.nunique():,} different words in {len(column):,} rows and is left out")
        return None
    shares = words.value_counts(normalize=True)
    kept = tuple(sorted(str(word) for word in shares.index[shares.between(RAREST, 1 - RAREST)]))
    if not kept:
        notes.append(f"{name!r} is nearly the same in all rows and is left out")
        return None
    if len(kept) < len(shares):
        notes.append(f"{name!r}: {len(shares) - len(kept)} of {len(shares)} words are too rare for a column each")
    return ColumnPlan(name, "words", words=kept)


def _inputs(plan: ColumnPlan, column: Column, source: str, notes: list[str]) -> NDArray[np.float64]:
    if plan.kind == "words":
        words = _as_words(column)
        categories: Any = [list(plan.words)]
        encoder = OneHotEncoder(categories=categories, handle_unknown="ignore", sparse_output=False)
        return np.asarray(encoder.fit_transform(words.to_frame()), dtype=np.float64)
    numbers = _days(column, plan.format) if plan.kind == "date" else pd.to_numeric(column, errors="coerce")
    wrong = column[numbers.isna() & column.notna()]
    if len(wrong):
        raise DataError(
            f"{source}: column {plan.name!r} holds {wrong.iloc[0]!r}, expected a {plan.kind} as in training; mend it"
        )
    if numbers.isna().any() and not plan.gaps:
        notes.append(f"{plan.name!r} has gaps, which it had not in training: filled by the median")
    imputer = SimpleImputer(strategy="constant", fill_value=plan.fill, keep_empty_features=True)
    filled = imputer.fit_transform(numbers.astype("float64").replace([np.inf, -np.inf], np.nan).to_frame())
    parts = [filled, numbers.isna().to_numpy(dtype=np.float64)[:, None]] if plan.gaps else [filled]
    return np.column_stack(parts)


def _names(plan: ColumnPlan) -> Sequence[str]:
    if plan.kind == "words":
        return [f"{plan.name}={word}" for word in plan.words]
    return [plan.name, f"{plan.name} is missing"] if plan.gaps else [plan.name]


def _as_words(column: Column) -> Column:
    return column.astype(object).where(column.notna(), "").astype(str)


def _days(column: Column, form: str) -> Column:
    """Days since 1970, NaN where there is no date."""
    dates = pd.to_datetime(column, format=form or None, errors="coerce", utc=True)
    return (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds() / _DAY


def _median(column: Column) -> float:
    return float(column.astype("float64").replace([np.inf, -np.inf], np.nan).median())


def _counts_rows(column: Column) -> bool:
    """Whether these are 0, 1, 2, ... or 1, 2, 3, ... in order."""
    if len(column) <= _FEW_ROWS or column.isna().any() or column.iloc[0] not in (0, 1):
        return False
    return bool((column.diff()[1:] == 1).all())
