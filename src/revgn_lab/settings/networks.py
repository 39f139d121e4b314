"""Plain networks to compare the reversible one with, initialised as torch does."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from revgn.nn import find_activation


class MLP(nn.Module):
    """Affine layers with an activation between them.

    Args:
        in_features: width of the inputs.
        out_features: number of outputs.
        hidden_features: widths of the hidden layers.
        activation: by name, as in `revgn.RevMLP`.
        init_scale: factor of torch's initial weights and biases.

    Raises:
        ValueError: an unknown activation, a scale that is not positive.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: Sequence[int] = (1024, 1024),
        activation: str = "relu",
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.activation = find_activation(activation)
        widths = (in_features, *hidden_features, out_features)
        self.layers = nn.ModuleList(nn.Linear(narrow, wide) for narrow, wide in pairwise(widths))
        _scale_(self, init_scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, out_features) of inputs (n, in_features)."""
        *hidden, last = self.layers
        for layer in hidden:
            inputs = self.activation(layer(inputs))
        return last(inputs)


class ConvNet(nn.Module):
    """Two convolutions of 3 x 3 with stride 2, and an affine layer on what they leave; for square images.

    Args:
        in_features: pixels of an image, image_channels times side times side, as a flat row.
        out_features: number of outputs.
        channels: of the first and of the second convolution.
        image_channels: 1 for grey, 3 for colour, whose planes stand one after another in a row.
        activation: after each convolution, by name, as in `revgn.RevMLP`.
        init_scale: factor of torch's initial weights and biases.

    Raises:
        ValueError: rows that are no square images, an unknown activation, a scale that is not positive.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        channels: tuple[int, int] = (16, 32),
        image_channels: int = 1,
        activation: str = "relu",
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        side = math.isqrt(in_features // image_channels)
        if image_channels * side**2 != in_features:
            raise ValueError(
                f"rows of {in_features} numbers are no square images of {image_channels} channel(s); give "
                "image_channels, or use a network for any rows such as MLP"
            )
        self.image = (image_channels, side, side)
        self.activation = find_activation(activation)
        self.first = nn.Conv2d(image_channels, channels[0], 3, stride=2, padding=1)
        self.second = nn.Conv2d(*channels, 3, stride=2, padding=1)
        left = math.ceil(side / 4)  # of each side, halved twice
        self.head = nn.Linear(channels[1] * left**2, out_features)
        _scale_(self, init_scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, out_features) of inputs (n, in_features)."""
        images = inputs.unflatten(-1, self.image)
        maps = self.activation(self.second(self.activation(self.first(images))))
        return self.head(maps.flatten(1))


@torch.no_grad()
def _scale_(network: nn.Module, factor: float) -> None:
    if not 0.0 < factor < math.inf:
        raise ValueError(f"init_scale must be positive and finite, got {factor}")
    for parameter in network.parameters():
        parameter.mul_(factor)
