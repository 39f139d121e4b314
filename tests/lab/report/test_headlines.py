import numpy as np
import pandas as pd
import pytest

from revgn_lab.claims.claim import load_claims
from revgn_lab.claims.evidence import Evidence
from revgn_lab.claims.verdicts import Judgement, Verdict
from revgn_lab.report.claims_table import MOST_COLUMNS, matrices, short_number
from revgn_lab.report.glossary import glossary
from revgn_lab.report.headlines import MOST, headlines, values_as_curves
from synthetic import FULL, MINI, metrics

CLAIMS = load_claims()


def judgement(verdict=Verdict.REPRODUCED, *, claim=0, setting=FULL, optimizer="GN exact", value=4.0, reason=""):
    evidence = Evidence(value, 3.5, 4.5, 3)
    return Judgement(CLAIMS[claim], "cpu", "digits", setting, optimizer, evidence, verdict, reason)


def said(frame, judgements=()):
    return [(line.about, line.says) for line in headlines([frame], judgements)]


def test_lines_follow_from_the_data():
    one, other = (dict(said(metrics(rates=rates)))[FULL] for rates in ((1.0, 0.2, 0.1), (0.1, 1.0, 0.2)))
    assert one.startswith("GaussNewton trains furthest, to a loss of 3.5e-05 (below 0.01 after 7 steps; next Adam, 0.2")
    assert other.startswith("Adam trains furthest, to a loss of 3.5e-05 (below 0.01 after 7 steps; next SGD, 0.2")
    assert one.endswith("Best on test rows is SGD with 89.4 % (GaussNewton: 88.5 %).")


def test_there_is_a_line_for_each_setting_and_no_more_than_a_reader_takes_in():
    frame = metrics()
    assert [about for about, _ in said(frame)] == [FULL, MINI]
    many = pd.concat([frame.assign(setting=f"setting {index}") for index in range(9)])
    assert len(said(many, [judgement()])) == MOST
    assert len(headlines([frame, frame], [])) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_verdicts_are_counted_first_and_then_runs_that_diverged(value):
    frame = metrics(seeds=(42, 43))
    frame.loc[(frame["optimizer"] == "SGD") & (frame["seed"] == 43) & (frame["epoch"] > 5), "loss"] = value
    judgements = [judgement(), judgement(Verdict.NOT_REPRODUCED, setting=MINI), judgement(claim=1)]
    counted = "Verdicts on 2 claims, wherever they were tested: 2 reproduced, 1 not reproduced, 0 inconclusive."
    assert said(frame, judgements)[:2] == [("", counted), ("", "Ended without a finite loss: 2 runs of SGD.")]


def test_values_of_a_sweep_are_compared_for_each_optimizer():
    lines = dict(said(values_as_curves(metrics())))
    assert set(lines) == {"GaussNewton", "Adam", "SGD"}
    assert lines["SGD"].startswith(f"{MINI} trains furthest")


def test_only_known_labels_are_explained_and_once():
    found = glossary(["GN exact", "my own", "full batch, squared error", "GN exact"])
    assert list(found) == ["GN exact", "squared error"]
    assert list(glossary(["GN exact", "GN as released"], found)) == ["GN as released"]


def test_claims_stand_beside_the_places_where_they_were_tested():
    (matrix,) = matrices([judgement(), judgement(setting=MINI, optimizer="SGD"), judgement(claim=1)])
    assert matrix.title == "Full batch (digits, cpu)"
    assert matrix.columns == [(FULL, ["GN exact"]), (MINI, ["SGD"])]
    cells = [[cell and short_number(cell) for cell in row.cells] for row in matrix.rows]
    assert cells == [["4 times", "4 times"], ["4 times", None]]


def test_optimizers_of_which_all_is_the_same_are_one_fact():
    reason = "the interval over seeds includes the threshold"
    unsure = judgement(Verdict.INCONCLUSIVE, optimizer="c", reason=reason)
    (matrix,) = matrices([judgement(optimizer="a"), judgement(optimizer="b"), unsure])
    facts = [(where, names, verdict) for where, names, _, verdict in matrix.rows[0].facts]
    place = f"digits, {FULL}, cpu"
    assert facts == [(place, "a, b", "reproduced"), (place, "c", f"inconclusive: {reason}")]


def test_many_places_take_several_tables():
    tables = matrices([judgement(setting=f"{index}", optimizer=name) for index in range(5) for name in "abc"])
    widths = [sum(len(optimizers) for _, optimizers in table.columns) for table in tables]
    assert widths == [6, 6, 3]
    assert max(widths) <= MOST_COLUMNS
