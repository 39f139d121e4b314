"""The lab's plain networks: what they compute, how they start, and runs of them with every right inverse they take."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from networks import normal
from revgn_lab.errors import ConfigError
from revgn_lab.settings.networks import MLP, ConvNet

MLP_WORDS = ("--model", "MLP", "--model.hidden_features=[40, 30]")
CONV_WORDS = ("--model", "ConvNet", "--model.channels=[4, 8]")
ALL = ("--diagnostics=[ntk, alignment, cka, weights, exactness]", "--probe_rows=8")


def made(build, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def test_mlp_is_affine_layers_with_an_activation_between_them():
    model = made(lambda: MLP(5, 3, hidden_features=[7, 6], activation="tanh"))
    (w0, b0, w1, b1, w2, b2), x = list(model.parameters()), normal(4, 5).float()
    expected = torch.tanh(torch.tanh(x @ w0.T + b0) @ w1.T + b1) @ w2.T + b2
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (28, 1), (7, 3)])
def test_conv_net_takes_flat_rows_of_square_images(side, channels):
    model = made(lambda: ConvNet(channels * side**2, 3, channels=(4, 5), image_channels=channels))
    w0, b0, w1, b1, w2, b2 = model.parameters()
    rows = normal(2, channels * side**2).float()
    maps = functional.relu(functional.conv2d(rows.view(2, channels, side, side), w0, b0, stride=2, padding=1))
    maps = functional.relu(functional.conv2d(maps, w1, b1, stride=2, padding=1))
    torch.testing.assert_close(model(rows), maps.flatten(1) @ w2.T + b2)


@pytest.mark.parametrize("build", [lambda **o: MLP(16, 3, **o), lambda **o: ConvNet(16, 3, **o)], ids=["mlp", "conv"])
def test_the_scale_multiplies_torchs_own_initialisation(build):
    plain, scaled = made(build), made(lambda: build(init_scale=0.25))
    first = next(m for m in plain.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d))
    bound = first.weight[0].numel() ** -0.5  # torch's default: uniform to both sides of it
    assert 0.5 * bound < float(first.weight.detach().abs().max()) <= bound
    assert all(torch.equal(0.25 * p, q) for p, q in zip(plain.parameters(), scaled.parameters(), strict=True))


def test_what_makes_no_network_or_has_no_layers_to_look_at_is_refused(trained):
    with pytest.raises(ValueError, match="rows of 15 numbers are no square images of 1 channel"):
        ConvNet(15, 3)
    with pytest.raises(ValueError, match="init_scale must be positive and finite, got 0"):
        MLP(5, 3, init_scale=0)
    for words, message in (
        (
            ("ConvNet", "--model.image_channels=3"),
            "model ConvNet: rows of 64 numbers are no square images of 3 channel",
        ),
        ((f"{Scale.__module__}.Scale", "--diagnostics=[cka]", "--optimizer", "Adam"), "Scale has no linear or conv"),
    ):
        with pytest.raises(ConfigError, match=message):
            trained("--model", *words)


@pytest.mark.parametrize(
    "words",
    [
        (*MLP_WORDS, "--optimizer.right_inverse=moore-penrose"),
        (*MLP_WORDS, "--optimizer.right_inverse=adjoint"),
        (*CONV_WORDS, "--optimizer.right_inverse=moore-penrose", "--optimizer.control", "LineSearch"),
        (*MLP_WORDS, "--optimizer", "Adam", "--optimizer.lr=0.01"),
        ("--optimizer.right_inverse=moore-penrose",),
        ("--optimizer.right_inverse=adjoint",),
    ],
    ids=lambda words: " ".join(words),
)
def test_every_network_is_trained_and_diagnosed(trained, tmp_path, words):
    metrics = trained(*words, "--data.rows=24", *ALL, batch_size=None, epochs=4)
    steps = metrics["loss"].dropna()
    assert steps.iloc[-1] < 0.8 * steps.iloc[0]
    layers = 2 if "--model" not in words else 3
    numbers = range(1, layers + 1)
    last = metrics.iloc[-1]
    assert last[[f"cka_{number}" for number in numbers]].between(0, 1).all()
    halves = [f"{number}{half}" for number in numbers for half in ("fg" if layers == 2 else [""])]
    assert last[[f"weight_change_{label}" for label in halves]].max() > 0
    assert 0 < last["kernel_alignment"] < 1
    with np.load(tmp_path / "representations.npz") as arrays:
        assert sorted(arrays) == [f"block_{number}" for number in numbers]


def test_the_norm_of_a_step_is_relative_to_the_parameters(trained):
    settings = {lr: ("--model=MLP", f"--optimizer.lr={lr}") for lr in ("0.5", "0.25")}
    runs = [trained(*words, batch_size=None, epochs=1, folder=lr) for lr, words in settings.items()]
    whole, half = (metrics["change_norm"].iloc[-1] for metrics in runs)
    assert half == pytest.approx(whole / 2, rel=1e-3)
    assert whole > 0


class Scale(torch.nn.Module):
    """A network of one's own, without any layer."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(in_features, out_features))

    def forward(self, inputs):
        return inputs @ self.weight


@pytest.mark.parametrize("name", ["Fixed", "LineSearch", "TrustRegion", "Ridge"])
def test_a_control_judges_every_step_and_tells_the_loss_after_it(trained, name):
    words = (*(["--optimizer.right_inverse=moore-penrose"] if name == "Ridge" else []), "--optimizer.control", name)
    metrics = trained(*words, batch_size=None, epochs=4)
    steps = metrics.iloc[1:]
    assert steps["accepted"].isin([0, 1]).all()
    assert ("ridge" in metrics) == (name == "Ridge")
    assert steps[["length", "damping", "gain_ratio"]].notna().all(axis=None)
    # A full batch: the loss after a step is that before the next, whether it was taken back or not.
    assert steps["loss_after"].to_numpy()[:-1] == pytest.approx(steps["loss"].to_numpy()[1:], rel=1e-5)
