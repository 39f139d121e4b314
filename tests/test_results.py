"""What is committed under results/ is what the code of today makes of its metrics, and what its README says."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from revgn_lab.claims.claim import load_claims
from revgn_lab.claims.verdicts import judge
from revgn_lab.report.claims_table import claims_json, number

RESULTS = Path(__file__).parents[1] / "results"
CPU = RESULTS / "cpu"
STUDIES = ("full-batch", "mini-batch", "ntk", "cka", "theorem", "exactness")


@pytest.fixture(scope="module")
def metrics():
    return pd.read_csv(CPU / "metrics.csv.xz", low_memory=False)


@pytest.fixture(scope="module")
def claims():
    return load_claims()


@pytest.fixture(scope="module")
def judgements(metrics, claims):
    return judge(metrics, claims)


def rounded(text):
    """What JSON says, with room for another order of summation."""
    return json.loads(text, parse_float=lambda digits: float(f"{float(digits):.9g}"))


def test_every_study_has_three_seeds_of_every_optimizer(metrics):
    runs = metrics.groupby(["study", "setting", "optimizer"])["seed"].nunique()
    assert set(STUDIES) <= set(metrics["study"])
    assert (runs == 3).all()


def test_verdicts_follow_from_the_metrics(claims, judgements):
    assert rounded(claims_json(claims, judgements)) == rounded((CPU / "claims.json").read_text("utf-8"))


def test_readme_has_every_verdict(judgements):
    assert rows_of(RESULTS / "README.md") == expected_rows(judgements)


@pytest.mark.parametrize("name", ["right-inverse", "theorem"])
def test_studies_of_their_own_say_what_their_metrics_do(name, claims):
    folder = RESULTS / name
    found = judge(pd.read_csv(folder / "metrics.csv.xz", low_memory=False), claims)
    assert rounded(claims_json(claims, found)) == rounded((folder / "claims.json").read_text("utf-8"))
    assert rows_of(folder / "README.md") == expected_rows(found)


def rows_of(page):
    """The rows of a page's table of verdicts."""
    said = page.read_text("utf-8")
    return [line.split(" | ") for line in said.splitlines() if re.match(r"\|.*(reproduced|inconclusive)", line)]


def expected_rows(judgements):
    """What they have to be."""
    return [
        [
            f"| {each.claim.claim}",
            ", ".join(filter(None, (each.dataset, each.setting))),
            each.optimizer,
            number(each.claim, each.evidence),
            f"{each.verdict.value} |",
        ]
        for each in judgements
    ]


@pytest.mark.parametrize("name", ["cpu", "right-inverse", "theorem"])
def test_the_page_is_whole_and_speaks_of_no_machine(name):
    page = (RESULTS / name / "index.html").read_text("utf-8")
    assert page.rstrip().endswith("</html>")
    assert not re.search(r"/(home|root|tmp|work)/", page)
