"""The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn carries: real data without a download."""

from typing import Any

import torch

from revgn_lab.data.data_error import require
from revgn_lab.data.parts import Parts, image_parts
from revgn_lab.data.splits import split


def read() -> Parts:
    """The digits, a fifth of every class for testing (359 rows) and the rest for training (1,438)."""
    bunch: Any = require("sklearn.datasets", "for the digits data set").load_digits()
    pixels = torch.from_numpy(bunch.data).to(torch.uint8).unsqueeze(1)  # (1797, 1, 64), levels 0 to 16
    labels = torch.from_numpy(bunch.target).long()
    train, test = split(labels)
    classes = tuple(str(digit) for digit in range(10))
    return image_parts(pixels[train], labels[train], pixels[test], labels[test], classes=classes)
