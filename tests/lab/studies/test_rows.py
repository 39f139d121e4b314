import pandas as pd
import pytest

from revgn_lab.errors import RunError
from revgn_lab.studies.expansion import expand
from revgn_lab.studies.rows import COLUMNS, TABLE, read_rows, write_rows


def test_a_table_comes_back_as_it_was_written(define, tmp_path):
    rows = expand(define(overrides={"optimizer.weight_decay": 0.1}), "smoke")
    write_rows(tmp_path, rows)
    assert read_rows(tmp_path) == rows


def test_any_reader_of_tables_understands_it(tiny_study):
    folder, rows = tiny_study()
    frame = pd.read_csv(folder / TABLE, sep="\t")
    assert tuple(frame) == COLUMNS
    assert frame["optimizer"].tolist() == [row.optimizer for row in rows]


def test_a_table_that_says_the_same_is_left_alone(tiny_study):
    """Snakemake goes by the times of files."""
    folder, rows = tiny_study()
    before = (folder / TABLE).stat().st_mtime_ns
    write_rows(folder, rows)
    assert (folder / TABLE).stat().st_mtime_ns == before


def test_no_table_has_no_rows(tmp_path):
    assert read_rows(tmp_path) == []


DAMAGE = {
    "another table": lambda text: "a\tb\n1\t2\n",
    "a short row": lambda text: text + "tiny\tsmoke\n",
    "no number": lambda text: text.replace("\t0\t", "\tzero\t"),
    "empty": lambda text: "",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_table_is_refused_with_what_to_do(tiny_study, damage):
    folder, _ = tiny_study()
    path = folder / TABLE
    path.write_text(damage(path.read_text()))
    with pytest.raises(RunError, match=r"is not the table of a study \(.*; remove it to have it written anew"):
        read_rows(folder)
