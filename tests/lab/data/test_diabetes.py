import pytest
import torch

from revgn_lab import data

sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="the diabetes set comes with scikit-learn")


def test_every_row_is_in_exactly_one_part_with_its_target_standardised_with_the_training_part():
    loaded, original = data.load("diabetes", dtype=torch.float64), sklearn_datasets.load_diabetes(scaled=False)
    assert (loaded.inputs.shape, loaded.test_inputs.shape) == ((354, 10), (88, 10))
    assert (loaded.num_classes, loaded.out_features) == (None, 1)
    for values in (loaded.inputs, loaded.targets):
        assert values.mean(0).abs().max() < 1e-12
        torch.testing.assert_close(values.std(0, correction=0), torch.ones(values.shape[1], dtype=torch.float64))
    assert loaded.test_inputs.mean(0).abs().min() > 1e-4
    inputs = torch.cat([loaded.inputs, loaded.test_inputs])
    told = torch.cat([loaded.in_original_units(loaded.targets), loaded.in_original_units(loaded.test_targets)])
    # Standardising is affine by column: the ends of a column tell how to undo it.
    column, published = inputs[:, 5], torch.tensor(original.data[:, 5])
    slope = (published.max() - published.min()) / (column.max() - column.min())
    restored = (published.min() + slope * (column - column.min())).round(decimals=6)
    pairs = sorted(zip(restored.tolist(), told.flatten().round(decimals=6).tolist(), strict=True))
    assert pairs == sorted(zip(published.round(decimals=6).tolist(), original.target.tolist(), strict=True))
