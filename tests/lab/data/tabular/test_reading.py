import numpy as np
import pandas as pd
import pytest

from revgn_lab.data import DataError
from revgn_lab.data.tabular.reading import read_table

# What is in the file, what must come out, what must be said.
WARTS = {
    "plain": ("a,b,y\n1,2.5,3\n4,5,6\n", {"a": [1, 4], "b": [2.5, 5.0], "y": [3, 6]}, []),
    "semicolons and decimal commas": (
        "a;b;y\n1,5;x;3\n4,25;z;6\n",
        {"a": [1.5, 4.25], "b": ["x", "z"], "y": [3, 6]},
        ["columns are separated by semicolons", "numbers have a decimal comma"],
    ),
    "from a German Excel": (
        "\ufeffa;b;y\r\n1.234,5;x;3\r\n4,25;z;1.234.567\r\n",
        {"a": [1234.5, 4.25], "b": ["x", "z"], "y": [3, 1234567]},
        ["columns are separated by semicolons", "numbers have a decimal comma, and points between thousands"],
    ),
    "Excel's own line": (
        "sep=;\na;b\n1,5;2\n4,5;3\n",
        {"a": [1.5, 4.5], "b": [2, 3]},
        ["columns are separated by semicolons", "numbers have a decimal comma"],
    ),
    "tabs and thousands": (
        "a\tb\n1,234.5\t3\n4\t1,234,567\n",
        {"a": [1234.5, 4.0], "b": [3, 1234567]},
        ["columns are separated by tabs", "numbers have commas between thousands"],
    ),
    "thousands in quotes": (
        'a,b\n"1,234",3\n"4,000",6\n',
        {"a": [1234, 4000], "b": [3, 6]},
        ["numbers have commas between thousands"],
    ),
    "spaces between thousands": (
        "a;y\n1 234,5;3\n4,5;6\n",
        {"a": [1234.5, 4.5], "y": [3, 6]},
        ["columns are separated by semicolons", "numbers have a decimal comma, and spaces between thousands"],
    ),
    "powers of ten": ("a,y\n1e-3,3\n4.5E+2,6\n", {"a": [1e-3, 450.0], "y": [3, 6]}, []),
    "gaps among numbers, and Namibia": (
        "a,b\nNA,NA\n4,DE\n",
        {"a": [None, 4.0], "b": ["NA", "DE"]},
        [],
    ),
    "an empty place among words": ("a,b\n1,\n4,DE\n", {"a": [1, 4], "b": [None, "DE"]}, []),
    "row numbers without a name": (
        ",a,y\n0,3,4\n1,5,6\n2,5,9\n",
        {"a": [3, 5, 5], "y": [4, 6, 9]},
        ["the first column, which has no name, numbers the rows and is left out"],
    ),
    "a separator within quotes": ('a,b\n"x, y",1\n"z",2\n', {"a": ["x, y", "z"], "b": [1, 2]}, []),
    "spaces around": ("a , b\n 1 , x \n 2, y\n", {"a": [1, 2], "b": ["x", "y"]}, []),
    "one column": ("a\n1\n2\n", {"a": [1, 2]}, []),
}


@pytest.mark.parametrize(("text", "columns", "notes"), WARTS.values(), ids=WARTS)
def test_a_file_is_understood_and_what_was_found_out_is_said(text, columns, notes, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    table = read_table(path)
    found = table.frame.astype(object)
    assert found.where(found.notna(), None).to_dict("list") == columns
    assert table.notes == notes


@pytest.mark.parametrize(("encoding", "notes"), [("utf-8-sig", 0), ("utf-16", 0), ("cp1252", 1)])
def test_any_encoding_of_letters_is_read(encoding, notes, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("größe,y\n1,ä\n2,ö\n".encode(encoding))
    table = read_table(path)
    assert list(table.frame) == ["größe", "y"]
    assert table.frame["y"].tolist() == ["ä", "ö"]
    assert len(table.notes) == notes


WRONG = {
    "empty": ("", "is empty, expected names of columns in the first line"),
    "a header only": ("a,b\n", "has no rows below the names of columns"),
    "no header": ("1,2\n3,4\n", "the first line holds numbers, expected names of columns"),
    "a name twice": ("a,b,a\n1,2,3\n", "the first line names column 'a' twice"),
    "a name missing": ("a,,b\n1,2,3\n", "column 2 has no name in the first line"),
    "no name and no numbers of rows": (",a\n5,1\n9,2\n", "column 1 has no name in the first line"),
    "rows too long": ("a,b\n1,2,3\n4,5,6\n", "rows have more fields than the 2 names of the first line"),
    "one row too long": ("a,b\n1,2\n4,5,6\n", "not a readable csv file"),
    "bytes": ("\x00\x01\x02,b\n1,2\n", "holds bytes that are no text"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_no_table_is_refused_in_one_line(text, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    with pytest.raises(DataError) as raised:
        read_table(path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"), [("none.csv", "there is no such file"), ("t.xlsx", "unknown kind of file '.xlsx', expected")]
)
def test_other_files_are_refused(name, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / name)


def test_parquet_and_npz_hold_the_same_columns_as_csv(tmp_path):
    frame = pd.DataFrame({"a": [1.5, 2.5, 3.5], "b": ["x", "y", "x"], "c": [1, 2, 3]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", a=frame["a"], b=np.array(["x", "y", "x"], dtype="S1"), c=frame[["c"]].to_numpy())
    for name in ("t.csv", "t.parquet", "t.npz"):
        pd.testing.assert_frame_equal(read_table(tmp_path / name).frame, frame, check_dtype=False)


def test_a_matrix_in_npz_is_a_column_each(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.arange(6.0).reshape(3, 2), y=np.arange(3))
    assert list(read_table(tmp_path / "t.npz").frame) == ["x_0", "x_1", "y"]


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_damaged_binaries_are_named(suffix, tmp_path):
    (tmp_path / f"t{suffix}").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(DataError, match=f"not a readable {suffix[1:]} file"):
        read_table(tmp_path / f"t{suffix}")
