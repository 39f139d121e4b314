"""`revgn bench`: the list of benchmarks, and one of them in an interpreter of its own."""

import json

import pytest

import revgn_lab
from revgn_lab.cli import main
from revgn_lab.commands import bench
from subprocesses import SUBPROCESS


def test_without_a_name_every_benchmark_is_listed_with_its_question(capsys):
    assert main(["bench"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("block_weights", "dense", "estimators", "generalisation", "lean", "lm", "many_processes", "mini_batch"),
        *("monotone", "moore_penrose", "quick", "right_inverses", "saturation", "scaling", "small_tables"),
        *("solvers", "step", "time_to_loss"),
    ]
    assert all(line.endswith("?") for line in lines)


def test_a_benchmark_runs_by_name_with_its_options(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", SUBPROCESS["PYTHONPATH"])
    assert main(["bench", "quick", "--tiny", "--pairs", "1", "--out", str(tmp_path)]) == 0
    assert "products beyond theory's" in capfd.readouterr().out
    assert json.loads((tmp_path / "quick.json").read_text())["options"]["pairs"] == 1


def test_benchmarks_are_found_in_an_installed_package_and_missed_with_advice(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "revgn_lab"
    package.mkdir(parents=True)
    monkeypatch.setattr(revgn_lab, "__file__", str(package / "__init__.py"))
    with pytest.raises(ValueError, match="run this in a checkout"):
        bench.benchmarks_folder()
    (package / "benchmarks").mkdir()
    (package / "benchmarks" / "measure.py").touch()
    assert bench.benchmarks_folder() == package / "benchmarks"
