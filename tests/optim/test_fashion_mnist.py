"""The authors' network on real images: 1024 rows solved to rounding in single precision."""

import pytest
import torch

import revgn
import revgn_lab.data
from revgn_lab.data.downloads import SYSTEM_ROOT

ROWS = 1024


pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        not (SYSTEM_ROOT / "fashion-mnist").is_dir(),
        reason="Fashion-MNIST is not installed; Debian has it in the package dataset-fashion-mnist",
    ),
]


def test_six_default_steps_fit_a_thousand_images_to_1e_minus_9():
    images = revgn_lab.data.load("fashion-mnist", rows=ROWS, seed=42)
    targets = torch.nn.functional.one_hot(images.targets, 10).float()
    generator = torch.Generator().manual_seed(42)
    network = revgn.RevMLP(784, 10, num_blocks=2, hidden_features=8000, generator=generator)
    optimizer = revgn.GaussNewton(network, revgn.losses.MSELoss(), lr=1.0)
    for _ in range(6):
        report = optimizer.backward(images.inputs, targets)
        assert report.exact
        assert report.block_weights == (0, 1)  # the linear first block has rank 393 at most
        optimizer.step()
    with torch.no_grad():
        residual = network(images.inputs) - targets
    assert residual.square().sum(1).mean().item() <= 1e-9


def test_the_right_inverse_decides_how_well_an_exact_step_generalises():
    data = revgn_lab.data.load("fashion-mnist")
    inputs, targets = data.inputs[:ROWS], torch.nn.functional.one_hot(data.targets[:ROWS], 10).float()
    accuracies, losses = {}, {}
    for right_inverse, steps in (("reversible", 6), ("moore-penrose", 4)):
        generator = torch.Generator().manual_seed(0)
        network = revgn.RevMLP(784, 10, num_blocks=2, hidden_features=2000, generator=generator)
        optimizer = revgn.GaussNewton(network, revgn.losses.MSELoss(), right_inverse=right_inverse)
        for _ in range(steps):
            assert optimizer.backward(inputs, targets).exact
            optimizer.step()
        with torch.no_grad():
            losses[right_inverse] = revgn.losses.MSELoss()(network(inputs), targets).item()
            predicted = network(data.test_inputs).argmax(1)
        accuracies[right_inverse] = (predicted == data.test_targets).float().mean().item()
    assert losses["moore-penrose"] <= 1e-3
    assert losses["reversible"] <= 1e-9
    assert accuracies["moore-penrose"] >= 0.73
    assert accuracies["reversible"] <= 0.52
