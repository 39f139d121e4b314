"""The 442 diabetes patients that scikit-learn carries: ten measurements, and the disease's progression after a year."""

from typing import Any

import torch

from revgn_lab.data.data_error import require
from revgn_lab.data.parts import Parts, regression_parts
from revgn_lab.data.splits import split


def read() -> Parts:
    """The patients in their published units, a fifth for testing (88 rows) and the rest for training (354)."""
    bunch: Any = require("sklearn.datasets", "for the diabetes data set").load_diabetes(scaled=False)
    inputs = torch.from_numpy(bunch.data).double()  # (442, 10)
    targets = torch.from_numpy(bunch.target).double().unsqueeze(1)
    train, test = split(torch.zeros(len(inputs), dtype=torch.int64, device="cpu"))
    return regression_parts(inputs, targets, train, test)
