"""Raw training and test parts with their statistics, and how they become a `Dataset`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn_lab.data.data_error import DataError
from revgn_lab.data.dataset import Dataset
from revgn_lab.data.splits import subset


@dataclass(frozen=True)
class Parts:
    """What a source has read. Statistics are those of the whole training part, whatever subset of it is used later.

    Args:
        inputs: (n, d) as in the file: bytes for images, float64 for tables.
        targets: (n,) int64 classes, or (n, k) float64.
        test_inputs: (m, d).
        test_targets: (m,) or (m, k).
        mean: (d,) float64, taken from the inputs.
        scale: (d,) float64, what the inputs are then divided by.
        classes: names of the classes; empty for regression.
        target_mean: (k,) float64, for regression.
        target_scale: (k,) float64, for regression.
    """

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    mean: Tensor
    scale: Tensor
    classes: tuple[str, ...] = ()
    target_mean: Tensor | None = None
    target_scale: Tensor | None = None

    def dataset(self, name: str, *, rows: int | None, seed: int, dtype: torch.dtype) -> Dataset:
        """The standardised `Dataset`, with `rows` of the training part drawn by `seed`, floats in `dtype`.

        Raises:
            DataError: more rows than there are, or a dtype that is not floating point.
        """
        if not dtype.is_floating_point:
            raise DataError(f"dtype must be a floating point type such as torch.float32, got {dtype}")
        chosen = subset(len(self.inputs), rows, seed, name)

        targets, test_targets = self.targets[chosen], self.test_targets
        if self.target_mean is not None and self.target_scale is not None:
            mean, scale = self.target_mean, self.target_scale
            targets, test_targets = (standardise(each, mean, scale, dtype) for each in (targets, test_targets))
        return Dataset(
            name=name,
            inputs=standardise(self.inputs[chosen], self.mean, self.scale, dtype),
            targets=targets,
            test_inputs=standardise(self.test_inputs, self.mean, self.scale, dtype),
            test_targets=test_targets,
            num_classes=len(self.classes) or None,
            classes=self.classes,
            target_mean=self.target_mean,
            target_scale=self.target_scale,
        )


def standardise(values: Tensor, mean: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """(values - mean) / scale, in `dtype`.

    Done in the wider of the two types: a float64 column such as a time stamp loses everything if it is rounded to
    float32 before its mean is taken off.
    """
    wide = torch.promote_types(values.dtype, dtype)
    return torch.sub(values.to(wide), mean.to(wide)).div_(scale.to(wide)).to(dtype)


def column_statistics(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column of (n, p) float64; a constant column has its value and 1.

    Constancy is decided by the values: rounding makes the standard deviation of equal numbers tiny, not zero, and their
    mean another number.
    """
    smallest, largest = columns.amin(dim=0), columns.amax(dim=0)
    constant = smallest == largest
    # In units of a power of two, which rounds nothing: squares of 1e160 and 1e-170 are no numbers.
    _, exponent = torch.frexp(torch.maximum(smallest.abs(), largest.abs()))
    unit = torch.ldexp(torch.ones_like(largest), exponent.clamp(-1000, 1000))
    scaled = columns / unit
    mean, scale = scaled.mean(dim=0) * unit, scaled.std(dim=0, correction=0) * unit
    return torch.where(constant, largest, mean), torch.where(constant, torch.ones_like(scale), scale)


def image_parts(
    pixels: Tensor, labels: Tensor, test_pixels: Tensor, test_labels: Tensor, *, classes: tuple[str, ...]
) -> Parts:
    """Parts of a set of images, with one mean and one standard deviation per channel, as is the custom for these sets.

    Pixels are (n, channels, p) bytes, labels (n,) int64.
    """
    means, scales = zip(*map(byte_statistics, pixels.unbind(dim=1)), strict=True)
    mean, scale = (torch.stack(each).repeat_interleave(pixels.shape[2]) for each in (means, scales))
    return Parts(
        pixels.flatten(start_dim=1), labels, test_pixels.flatten(start_dim=1), test_labels, mean, scale, classes
    )


def regression_parts(inputs: Tensor, targets: Tensor, train: Tensor, test: Tensor) -> Parts:
    """Parts of a regression table, inputs (n, d) and targets (n, k) float64, with the statistics of their columns.

    The numbers of the rows in each part, `train` and `test`, are those of `split`.
    """
    mean, scale = column_statistics(inputs[train])
    target_mean, target_scale = column_statistics(targets[train])
    parts = (inputs[train], targets[train], inputs[test], targets[test])
    return Parts(*parts, mean, scale, target_mean=target_mean, target_scale=target_scale)


def byte_statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of bytes, exact, from how often each of the 256 values occurs; 1 if all are equal."""
    counts = torch.bincount(values.flatten(), minlength=256).double()
    levels = torch.arange(256, dtype=torch.float64, device="cpu")
    mean = (counts @ levels) / counts.sum()
    variance = (counts @ (levels - mean).square()) / counts.sum()
    return mean, torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
