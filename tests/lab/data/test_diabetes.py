import pytest
import torch

from revgn_lab import data

sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="the diabetes set comes with scikit-learn")


def test_every_row_is_in_exactly_one_part_with_its_target():
    loaded = data.load("diabetes", dtype=torch.float64)
    assert loaded.inputs.shape == (354, 10)
    assert loaded.test_inputs.shape == (88, 10)
    assert (loaded.num_classes, loaded.out_features) == (None, 1)
    original = torch.tensor(sklearn_datasets.load_diabetes(scaled=False).data)
    targets = torch.tensor(sklearn_datasets.load_diabetes().target)
    # Standardising is affine by column, so equal rows stay equal and ranks within a column stay as they are.
    inputs = torch.cat([loaded.inputs, loaded.test_inputs])
    told = torch.cat([loaded.in_original_units(loaded.targets), loaded.in_original_units(loaded.test_targets)])
    order, original_order = inputs[:, 5].argsort(stable=True), original[:, 5].argsort(stable=True)
    slope = (original[original_order[-1], 5] - original[original_order[0], 5]) / (
        inputs[order[-1], 5] - inputs[order[0], 5]
    )
    restored = original[original_order[0], 5] + slope * (inputs[:, 5] - inputs[order[0], 5])
    pairs = sorted(zip(restored.round(decimals=6).tolist(), told.flatten().round(decimals=6).tolist(), strict=True))
    assert pairs == sorted(zip(original[:, 5].round(decimals=6).tolist(), targets.tolist(), strict=True))


def test_inputs_and_targets_are_standardised_with_the_training_part():
    loaded = data.load("diabetes", dtype=torch.float64)
    for values in (loaded.inputs, loaded.targets):
        assert values.mean(0).abs().max() < 1e-12
        torch.testing.assert_close(values.std(0, correction=0), torch.ones(values.shape[1], dtype=torch.float64))
    assert loaded.test_inputs.mean(0).abs().min() > 1e-4
