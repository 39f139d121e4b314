"""Real features are ill-conditioned: 1024 digits, down to where the residual is nothing but rounding."""

import pytest
import torch

import revgn
import revgn_lab.data

pytest.importorskip("sklearn", reason="digits come with scikit-learn")


@pytest.mark.parametrize("seed", [42, 43, 44])
def test_newton_steps_stay_exact_down_to_rounding(seed):
    digits = revgn_lab.data.load("digits", rows=1024)
    targets = torch.nn.functional.one_hot(digits.targets, 10).float()
    generator = torch.Generator().manual_seed(seed)
    network = revgn.RevMLP(64, 10, num_blocks=2, hidden_features=2000, state_features=128, generator=generator)
    optimizer = revgn.GaussNewton(network, revgn.losses.MSELoss())
    for _ in range(12):
        report = optimizer.backward(digits.inputs, targets)
        assert report.exact
        assert report.block_weights == (0, 1)
        optimizer.step()
    assert report.loss < 1e-12
