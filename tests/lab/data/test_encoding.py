import pytest
import torch

from revgn_lab.data.encoding import encode

pandas = pytest.importorskip("pandas", reason="tables are pandas data frames")

ALL = torch.arange(100)


def column(**counts):
    """Words as often as said, and for `empty` nothing."""
    return [None if word == "empty" else word for word, count in counts.items() for _ in range(count)]


def test_numbers_stay_as_they_are_and_columns_keep_their_order():
    frame = pandas.DataFrame({"x": range(100), "w": column(a=40, b=60), "z": [0.5] * 100, "t": [True, False] * 50})
    encoded = encode(frame, ALL, "set")
    assert encoded.dtype == torch.float64
    assert encoded.T.tolist() == [
        list(range(100)),
        [1.0] * 40 + [0.0] * 60,
        [0.0] * 40 + [1.0] * 60,
        [0.5] * 100,
        [1.0, 0.0] * 50,
    ]


def test_words_stand_in_alphabetical_order_and_categories_count_as_words():
    words = pandas.Categorical(column(b=30, a=70), categories=["b", "a", "unused"])
    assert encode(pandas.DataFrame({"w": words}), ALL, "set").sum(0).tolist() == [70, 30]


def test_an_empty_place_is_a_word_of_its_own():
    frame = pandas.DataFrame({"w": column(a=20, empty=50, b=30)})
    assert encode(frame, ALL, "set").sum(0).tolist() == [50, 20, 30]


def test_rare_words_have_no_column_and_neither_has_what_nearly_all_rows_say():
    thousand = torch.arange(1000)
    rare = pandas.DataFrame({"w": column(a=485, b=500, c=10, d=5)})
    assert encode(rare, thousand, "set").sum(0).tolist() == [485, 500, 10]
    common = pandas.DataFrame({"w": column(a=995, b=5), "x": range(1000)})
    assert encode(common, thousand, "set").shape == (1000, 1)


def test_only_training_rows_decide_which_words_have_a_column():
    frame = pandas.DataFrame({"w": column(a=30, b=30, c=40)})
    encoded = encode(frame, torch.arange(60), "set")
    assert encoded.sum(0).tolist() == [30, 30]
    assert encoded[60:].eq(0).all()


@pytest.mark.parametrize("bad", [None, float("inf")])
def test_missing_numbers_are_refused(bad, message):
    frame = pandas.DataFrame({"x": [1.0] * 99 + [bad]})
    told = message(lambda: encode(frame, ALL, "houses"))
    assert told == "houses: column 'x' has 1 empty, NaN or infinite number(s); fill them in"


def test_a_table_that_says_nothing_is_refused(message):
    frame = pandas.DataFrame({"w": column(a=100)})
    assert "no column tells rows apart" in message(lambda: encode(frame, ALL, "houses"))
