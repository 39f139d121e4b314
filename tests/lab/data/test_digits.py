import pytest
import torch

from revgn_lab import data

sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="digits come with scikit-learn")


def test_digits_are_all_there_and_a_fifth_of_every_class_is_for_testing():
    digits = data.load("digits")
    assert digits.inputs.shape == (1438, 64)
    assert digits.test_inputs.shape == (359, 64)
    counts = torch.bincount(torch.from_numpy(sklearn_datasets.load_digits().target))
    assert torch.equal(digits.targets.bincount() + digits.test_targets.bincount(), counts)
    assert ((digits.test_targets.bincount() - counts / 5).abs() <= 0.5).all()


def test_every_image_of_the_original_is_in_exactly_one_part():
    digits = data.load("digits", dtype=torch.float64)
    original = torch.from_numpy(sklearn_datasets.load_digits().data)
    loaded = torch.cat([digits.inputs, digits.test_inputs])
    levels = (loaded - loaded.min()) * (
        16 / (loaded.max() - loaded.min())
    )  # standardising is affine: 0 and 16 both occur
    assert torch.equal(levels.round().unique(dim=0, return_counts=True)[0], original.unique(dim=0))
    assert sorted(levels.round().sum(dim=1).tolist()) == sorted(original.sum(dim=1).tolist())


def test_labels_stay_with_their_images():
    digits = data.load("digits", dtype=torch.float64)
    original = sklearn_datasets.load_digits()
    label_of = {tuple(row): int(label) for row, label in zip(original.data, original.target, strict=True)}
    mean, scale = digits.inputs.min(), digits.inputs.max() - digits.inputs.min()
    levels = ((digits.inputs - mean) * (16 / scale)).round()
    assert [label_of[tuple(row)] for row in levels.tolist()] == digits.targets.tolist()


def test_digits_are_standardised_as_one_image_by_the_training_part():
    digits = data.load("digits", dtype=torch.float64)
    assert abs(digits.inputs.mean()) < 1e-12
    assert abs(digits.inputs.std(correction=0) - 1) < 1e-12
    assert abs(digits.test_inputs.mean()) > 1e-6  # its own statistics were not used
    assert (
        digits.inputs[:, 0].unique().numel() == 1
    )  # a corner that is always blank: not divided by its own zero spread


def test_digits_say_what_they_are():
    digits = data.load("digits")
    assert (digits.name, digits.in_features, digits.out_features, digits.num_classes) == ("digits", 64, 10, 10)
    assert digits.classes == tuple("0123456789")
    assert digits.inputs.dtype == torch.float32
    assert digits.targets.dtype == torch.int64
    with pytest.raises(ValueError, match="digits has classes, not units"):
        digits.in_original_units(digits.inputs)
