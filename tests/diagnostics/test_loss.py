import math

import pytest
import torch

from revgn.diagnostics import loss_change


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(2.0, 0.0, -100), (2.0, 1.0, -50), (2.0, 2.0, 0), (2.0, 8.0, 300)]
)
def test_the_change_is_in_percent_of_the_loss_before(before, after, expected):
    assert loss_change(before, after) == expected
    assert loss_change(torch.tensor(before), torch.tensor(after)) == expected


def test_from_nothing_any_rise_is_infinite():
    assert loss_change(0.0, 0.0) == 0
    assert loss_change(0.0, 1e-30) == math.inf
