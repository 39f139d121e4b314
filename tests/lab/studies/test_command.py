"""`revgn study`, with a stand-in for snakemake."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from revgn_lab.cli import main
from revgn_lab.report import page as report_page
from revgn_lab.settings.shipped import shipped_studies
from revgn_lab.studies import execution
from revgn_lab.studies.rows import read_rows
from revgn_lab.studies.worker import run_row


@pytest.fixture
def run_here(monkeypatch):
    def make(folder, pending, machine, *, total):
        finished = [run_row(folder, row) for row in pending]  # every row, whatever became of those before it
        return 0 if all(finished) else 1

    monkeypatch.setattr(execution, "_snakemake", make)


def test_a_study_ends_with_a_report(define, tmp_path, run_here, capsys):
    folder = tmp_path / "out"
    assert main(["study", define(), "--out", str(folder)]) == 0
    assert capsys.readouterr().out == f"4 of 4 runs are complete.\nOpen {folder}/index.html in a browser.\n"
    page = (folder / "index.html").read_text()
    assert "GN exact" in page
    assert (folder / "metrics.csv").read_text().count("\n") == 4 * 13 + 1
    assert isinstance(json.loads((folder / "claims.json").read_text()), list | dict)


MINE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, in_features: int, out_features: int, width: int = 3):
        super().__init__(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, out_features))
"""


def test_a_network_of_ones_own_runs_in_a_study_of_ones_own_by_yaml_alone(define, tmp_path, run_here, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    network = {"model": f"{tmp_path}/mine.py:Net", "model.width": 80}
    optimizers = {
        "adjoint": {"optimizer.right_inverse": "adjoint"},
        "J^+": {"optimizer.right_inverse": "moore-penrose", "optimizer.solver": "Eigh"},
        "GCV": {"optimizer.right_inverse": "MoorePenrose", "optimizer.control": "Ridge"},
    }
    path = define(settings={"my network": network}, optimizers=optimizers, seeds=[0])
    assert main(["study", path, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("3 of 3 runs are complete.\n")
    metrics = pd.read_csv(tmp_path / "out" / "metrics.csv")
    assert metrics.groupby("optimizer")["loss"].last().lt(metrics.groupby("optimizer")["loss"].first()).all()
    assert metrics.loc[metrics["optimizer"] == "J^+", "exact"].dropna().all()


def test_failed_runs_are_listed_with_reason_and_folder_and_do_not_stop_the_rest(
    define, tmp_path, run_here, capsys, monkeypatch
):
    monkeypatch.setattr(report_page, "write_report", lambda places, out: out / "index.html")
    optimizers = {
        "broken": {"data.rows": 9999},
        "GN exact": {},
        "wild SGD": {"optimizer": "SGD", "optimizer.lr": 100.0},
    }
    monkeypatch.chdir(tmp_path)
    assert main(["study", define(optimizers=optimizers, seeds=[0])]) == 1
    folder = Path("runs/study-tiny-smoke")  # the default: after study and scale
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "2 of 3 runs are complete, of which 1 diverged."
    broken = read_rows(folder)[0]
    (line,) = [line for line in said.err.splitlines() if line.startswith("failed: ")]
    assert line.startswith("failed: tiny: digits, mini-batches, broken, seed 0: DataError: rows must be")
    assert line.endswith(f"({folder / broken.folder}, {folder}/logs/{broken.batch}.log)")


def test_a_dry_run_prints_the_table_and_runs_nothing(define, tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["study", define(), "--out", str(folder), "--dry-run"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    line = r"to do\ttiny: digits, mini-batches, GN exact, seed 0\truns/digits-gaussnewton-0-\w{12}"
    assert re.fullmatch(line, lines[0])
    assert last == f"4 curves of 4 runs, of which 0 are complete in {folder}"
    assert not folder.exists()


def test_studies_and_scales_are_listed_with_a_line_each(capsys):
    assert main(["study", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(shipped_studies()) + 3 + 2
    assert all(len(line) <= 130 for line in lines)
