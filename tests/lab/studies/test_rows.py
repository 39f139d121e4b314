import pandas as pd
import pytest

from revgn_lab.errors import RunError
from revgn_lab.studies.expansion import expand
from revgn_lab.studies.rows import COLUMNS, TABLE, read_rows, write_rows


def test_a_table_comes_back_as_it_was_written_also_to_other_readers(define, tmp_path):
    assert read_rows(tmp_path) == []
    rows = expand(define(overrides={"optimizer.weight_decay": 0.1}), "smoke")
    write_rows(tmp_path, rows)
    assert read_rows(tmp_path) == rows
    frame = pd.read_csv(tmp_path / TABLE, sep="\t")
    assert tuple(frame) == COLUMNS
    assert frame["optimizer"].tolist() == [row.optimizer for row in rows]
    before = (tmp_path / TABLE).stat().st_mtime_ns
    write_rows(tmp_path, rows)  # says the same, and snakemake goes by the times of files
    assert (tmp_path / TABLE).stat().st_mtime_ns == before


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
