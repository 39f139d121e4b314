"""Fashion-MNIST divided into rows to train on, for validation and for testing, and networks to be trained on it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

import problems
import revgn
from epochs import Part

SPLIT_SEED = 0


@dataclass(frozen=True)
class Sizes:
    """Rows for training and validation together, features by network, and what batches are divided by."""

    rows: int
    features: Mapping[str, int]
    shrink: int = 1


@dataclass(frozen=True)
class Data:
    """Rows to train on, where they are computed; to choose by; to be judged by."""

    name: str
    training: Part
    validation: Part
    test: Part


def split(sizes: Sizes) -> Data:
    """Eleven twelfths to train on, the rest for validation: 55,000 and 5,000 rows, drawn by a fixed seed."""
    images = problems.images(sizes.rows, SPLIT_SEED)
    inputs, classes, place = images.inputs, images.targets, problems.device()
    kept = len(classes) * 11 // 12
    return Data(
        f"{images.name}, {kept} rows",
        Part(inputs[:kept].to(place), classes[:kept].to(place)),
        Part(inputs[kept:], classes[kept:]),
        Part(images.test_inputs, images.test_targets),
    )


def build(network: str, data: Data, sizes: Sizes, seed: int) -> nn.Module:
    """A new network of that seed."""
    width, hidden = data.training.inputs.shape[1], sizes.features[network]
    if network == "RevMLP":
        generator = torch.Generator().manual_seed(seed)
        model: nn.Module = revgn.RevMLP(
            width, problems.CLASSES, num_blocks=2, hidden_features=hidden, generator=generator
        )
        return model.to(problems.device())
    widths = (width, hidden, hidden, problems.CLASSES)
    model = problems.mlp(widths, activation=nn.ReLU, seed=seed, dtype=torch.float32)
    return model.to(problems.device())
