import pytest
import torch

from revgn_lab import data

sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="digits come with scikit-learn")


def test_every_image_of_the_original_is_in_one_part_with_its_label_and_a_fifth_of_every_class_is_for_testing():
    digits, original = data.load("digits", dtype=torch.float64), sklearn_datasets.load_digits()
    assert (digits.inputs.shape, digits.test_inputs.shape) == ((1438, 64), (359, 64))
    counts = torch.bincount(torch.from_numpy(original.target))
    assert torch.equal(digits.targets.bincount() + digits.test_targets.bincount(), counts)
    assert ((digits.test_targets.bincount() - counts / 5).abs() <= 0.5).all()
    loaded = torch.cat([digits.inputs, digits.test_inputs])
    # Standardising is affine: 0 and 16 both occur.
    levels = ((loaded - loaded.min()) * (16 / (loaded.max() - loaded.min()))).round()
    labels = torch.cat([digits.targets, digits.test_targets])
    found = sorted(zip(levels.tolist(), labels.tolist(), strict=True))
    assert found == sorted(zip(original.data.tolist(), original.target.tolist(), strict=True))


def test_digits_are_standardised_as_one_image_by_the_training_part():
    digits = data.load("digits", dtype=torch.float64)
    assert abs(digits.inputs.mean()) < 1e-12
    assert abs(digits.inputs.std(correction=0) - 1) < 1e-12
    assert abs(digits.test_inputs.mean()) > 1e-6  # its own statistics were not used
    assert digits.inputs[:, 0].unique().numel() == 1  # a corner that is always blank: not divided by its zero spread


def test_digits_say_what_they_are():
    digits = data.load("digits")
    assert (digits.name, digits.in_features, digits.out_features, digits.num_classes) == ("digits", 64, 10, 10)
    assert digits.classes == tuple("0123456789")
    assert (digits.inputs.dtype, digits.targets.dtype) == (torch.float32, torch.int64)
    with pytest.raises(ValueError, match="digits has classes, not units"):
        digits.in_original_units(digits.inputs)
