"""`revgn demo`: a study like any other, by another name."""

import pytest

from revgn_lab.cli import main
from revgn_lab.report import page
from revgn_lab.studies import execution
from revgn_lab.studies.expansion import expand
from revgn_lab.studies.rows import read_rows, runs_of


def test_the_demo_has_the_rows_of_its_study_with_the_seeds_that_are_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(execution, "_snakemake", lambda *_, **__: 0)  # nothing is trained
    monkeypatch.setattr(page, "write_report", lambda places, out: out / "index.html")
    assert main(["demo", "--seeds", "1", "2", "--out", str(tmp_path)]) == 1  # as no run is complete
    assert f"Open {tmp_path}/index.html in a browser." in capsys.readouterr().out
    assert read_rows(tmp_path) == expand("demo", "smoke", seeds=[1, 2])


@pytest.mark.parametrize("scale", ["smoke", "cpu"])
def test_the_same_optimizers_are_compared_on_networks_wide_enough_to_be_exact(scale):
    rows = runs_of(expand("demo", scale))
    assert len(rows) == 2 * 3 * 3
    for row in rows:
        model, rows_of_step = row.config.parts["model"].init_args, row.config.training.batch_size
        assert model["hidden_features"] > (rows_of_step or row.config.data["rows"])
        assert row.config.training.device == "cpu"
    assert list(dict.fromkeys(row.optimizer for row in rows)) == ["GaussNewton", "Adam", "SGD"]
