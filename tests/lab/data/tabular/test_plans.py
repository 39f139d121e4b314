import json

import numpy as np
import pandas as pd
import pytest

from revgn_lab.data import DataError
from revgn_lab.data.tabular.encoding import Encoding, plan_encoding, without_idle_columns

ROWS = 60


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": random.normal(size=ROWS),
            "gaps": np.where(np.arange(ROWS) % 5, random.normal(size=ROWS), np.nan),
            "flag": random.random(ROWS) < 0.5,
            "word": random.choice(["red", "green", "blue"], ROWS).astype(object),
            "day": pd.date_range("2021-01-01", periods=ROWS).strftime("%Y-%m-%d"),
        }
    )


def test_columns_become_the_inputs_that_one_would_write_by_hand(frame):
    encoding = plan_encoding(frame, source="t")
    inputs = pd.DataFrame(encoding.inputs(frame, source="t"), columns=encoding.input_names)
    by_hand = {
        "x": frame["x"],
        "gaps": frame["gaps"].fillna(frame["gaps"].median()),
        "gaps is missing": frame["gaps"].isna(),
        "flag": frame["flag"],
        **{f"word={word}": frame["word"] == word for word in ("blue", "green", "red")},
        "day": 18628.0 + np.arange(ROWS),  # days from 1970-01-01 to 2021-01-01
    }
    pd.testing.assert_frame_equal(inputs, pd.DataFrame(by_hand).astype(float))


def test_a_plan_comes_back_from_json_and_gives_the_same_inputs(frame):
    encoding = plan_encoding(frame, source="t")
    again = Encoding.from_dict(json.loads(json.dumps(encoding.as_dict())))
    assert again == encoding
    np.testing.assert_array_equal(again.inputs(frame, source="t"), encoding.inputs(frame, source="t"))


def test_new_words_and_new_gaps_are_no_error(frame):
    encoding = plan_encoding(frame, source="t")
    new = frame.iloc[:3].assign(word=["violet", None, "red"], x=[np.nan, 1.0, 2.0])
    notes = []
    inputs = pd.DataFrame(encoding.inputs(new, source="new", notes=notes), columns=encoding.input_names)
    assert inputs[["word=blue", "word=green", "word=red"]].sum(axis=1).tolist() == [0, 0, 1]
    assert inputs["x"][0] == frame["x"].median()
    assert notes == ["'x' has gaps, which it had not in training: filled by the median"]


SAYS_NOTHING = {
    "empty": ([None] * ROWS, "'c' is empty and is left out"),
    "names of rows": ([f"row {i}" for i in range(ROWS)], "'c' has 60 different words in 60 rows and is left out"),
}


@pytest.mark.parametrize(("values", "note"), SAYS_NOTHING.values(), ids=SAYS_NOTHING)
def test_columns_that_say_nothing_are_left_out_and_named(frame, values, note):
    encoding = plan_encoding(frame.assign(c=values), source="t")
    assert note in encoding.notes
    assert "c" not in encoding.input_names


IDLE = {
    "from 0": (np.arange(ROWS), "numbers the rows"),
    "from 1": (np.arange(1, ROWS + 1), "numbers the rows"),
    "a number": (7, "is the same in all rows"),
    "a word": ("x", "is the same in all rows"),
}


@pytest.mark.parametrize(("values", "reason"), IDLE.values(), ids=IDLE)
def test_columns_without_content_are_left_out(frame, values, reason):
    notes = []
    assert list(without_idle_columns(frame.assign(id=values), notes)) == list(frame)
    assert notes == [f"'id' {reason} and is left out"]


@pytest.mark.parametrize(
    ("written", "says"),
    [("%d.%m.%Y", "day.month.year"), ("%Y-%m-%dT%H:%M:%S", "ISO dates"), ("%m/%d/%Y", "month/day/year")],
)
def test_dates_are_days_however_they_are_written(frame, written, says):
    dates = pd.date_range("2021-01-01", periods=ROWS)
    encoding = plan_encoding(frame[["x"]].assign(when=dates.strftime(written)), source="t")
    assert f"'when' holds dates, read as {says}: days since 1970" in encoding.notes
    days = encoding.inputs(frame[["x"]].assign(when=dates.strftime(written)), source="t")[:, 1]
    np.testing.assert_array_equal(days, 18628.0 + np.arange(ROWS))


def test_dates_that_could_be_read_two_ways_are_said_to_be(frame):
    dates = [f"0{i % 9 + 1}/0{i % 7 + 1}/2021" for i in range(ROWS)]
    (note,) = plan_encoding(frame[["x"]].assign(when=dates), source="t").notes
    assert (
        note == "'when' holds dates, read as day/month/year (not month/day/year, which would fit too): days since 1970"
    )


def test_a_missing_column_and_a_column_of_another_kind_are_refused(frame):
    encoding = plan_encoding(frame, source="t")
    with pytest.raises(DataError, match="new: lacks 'x', 'word', which the model was trained with"):
        encoding.inputs(frame.drop(columns=["x", "word"]), source="new")
    with pytest.raises(DataError, match="new: column 'x' holds 'tall', expected a number as in training"):
        encoding.inputs(frame.assign(x="tall"), source="new")


def test_a_table_that_says_nothing_is_refused():
    with pytest.raises(DataError, match="no column tells rows apart"):
        plan_encoding(pd.DataFrame({"c": ["x"] * 3}), source="t")
