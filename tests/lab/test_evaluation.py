import math

import pytest
import torch
from sklearn.metrics import r2_score

from revgn_lab.runs.evaluation import score


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("error", [0.0, 0.01, 10.0])
def test_r2_does_not_depend_on_the_scale_of_the_targets(scale, error):
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(20, 1, generator=generator, dtype=torch.float64)
    outputs = targets + error * torch.randn(20, 1, generator=generator, dtype=torch.float64)
    assert score(scale * outputs, scale * targets, None)["r2"] == pytest.approx(r2_score(targets, outputs), abs=1e-9)
    assert score(torch.zeros(20, 1), scale * targets, None)["r2"] < 0  # the mean, which is not zero, explains more


def test_r2_of_outputs_that_are_not_finite_is_not_a_number_and_of_one_row_not_told():
    assert math.isnan(score(torch.tensor([[1.0], [math.inf]]), torch.tensor([[1.0], [2.0]]), None)["r2"])
    assert score(torch.ones(1, 1), torch.ones(1, 1), None) == {}
