"""What a loaded data set is: tensors for training and testing, and what is needed to read predictions."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Standardised inputs and their targets, in a training and a test part.

    Args:
        name: the name it was loaded by; for a table, its file name without the suffix.
        inputs: (n, d) floats, standardised with the statistics of the whole training part.
        targets: (n,) int64 classes, or (n, k) floats in units of the training part's standard deviation.
        test_inputs: (m, d), standardised with the same numbers as `inputs`.
        test_targets: (m,) or (m, k), as `targets`.
        num_classes: how many classes there are; None for regression.
        classes: what class 0, 1, ... is called; empty for regression.
        target_mean: (k,) float64, what was taken from regression targets; None for classification.
        target_scale: (k,) float64, what regression targets were then divided by; None for classification.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    num_classes: int | None
    classes: tuple[str, ...] = ()
    target_mean: Tensor | None = None
    target_scale: Tensor | None = None

    @property
    def in_features(self) -> int:
        """The width d of the inputs."""
        return self.inputs.shape[1]

    @property
    def out_features(self) -> int:
        """The width of a network's output: the number of classes, or k for regression."""
        return self.targets.shape[1] if self.num_classes is None else self.num_classes

    def in_original_units(self, targets: Tensor) -> Tensor:
        """Regression `targets` or predictions (n, k), mapped back to the units of the file, in float64.

        Raises:
            ValueError: this is a classification set, whose targets are class numbers.
        """
        if self.target_mean is None or self.target_scale is None:
            raise ValueError(f"{self.name} has classes, not units; in_original_units is for regression targets")
        return targets * self.target_scale + self.target_mean
