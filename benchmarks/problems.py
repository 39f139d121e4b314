"""The networks, batches and methods that the benchmarks share."""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import revgn
import revgn_lab.data
from revgn.losses import CrossEntropyLoss, GaussNewtonLoss, MSELoss
from revgn.nn.blocks import halves
from revgn_lab.data import DataError

CLASSES = 10
MNIST = {"in_features": 784, "num_blocks": 2, "hidden_features": 8000}  # the authors' sizes


@dataclass(frozen=True, eq=False)
class Problem:
    """A network with a batch and a loss.

    Attributes:
        targets: as the loss takes them: classes for cross-entropy, one-hot vectors for squared error.
    """

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    loss: GaussNewtonLoss

    def gauss_newton(self, **options: Any) -> Callable[[], revgn.Report]:
        """A Gauss-Newton step with these options of `revgn.GaussNewton`."""
        optimizer = revgn.GaussNewton(self.model, self.loss, **options)

        def step() -> revgn.Report:
            report = optimizer.backward(self.inputs, self.targets)
            optimizer.step()
            return report

        return step

    def gradient(
        self, optimizer: torch.optim.Optimizer, forward: Callable[[Tensor], Tensor] | None = None
    ) -> Callable[[], None]:
        """A step of one of torch's optimizers: forward, backward, step, with torch's own loss and nothing of ours."""
        outputs_of = self.model if forward is None else forward
        classes = isinstance(self.loss, CrossEntropyLoss)

        def step() -> None:
            optimizer.zero_grad()
            outputs = outputs_of(self.inputs)
            loss_of = functional.cross_entropy if classes else squared_error
            loss_of(outputs, self.targets).backward()
            optimizer.step()

        return step


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """What `revgn.losses.MSELoss` is, with nothing of ours."""
    return 0.5 * (outputs - targets).square().sum(1).mean()


def device() -> torch.device:
    """The accelerator where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def random_problem(rows: int, *, loss: GaussNewtonLoss | None = None, **network: Any) -> Problem:
    """Normal inputs and random classes: sizes decide what a step costs, values do not."""
    generator = torch.Generator().manual_seed(0)
    model = revgn.RevMLP(out_features=CLASSES, generator=generator, **network)
    inputs = torch.randn(rows, model.in_features, generator=generator)
    classes = torch.randint(CLASSES, (rows,), generator=generator)
    loss = CrossEntropyLoss() if loss is None else loss
    return on_device(model, inputs, _targets(classes, loss), loss)


def random_regression(
    model: nn.Module, rows: int, in_features: int, outputs: int, dtype: torch.dtype = torch.float32
) -> Problem:
    """Normal inputs and targets, with squared error."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(rows, in_features, generator=generator, dtype=dtype)
    targets = torch.randn(rows, outputs, generator=generator, dtype=dtype)
    return on_device(model, inputs, targets, MSELoss())


def mlp(widths: Sequence[int], *, activation: type[nn.Module], seed: int, dtype: torch.dtype) -> nn.Sequential:
    """A plain network as torch starts it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(*pair, dtype=dtype) for pair in itertools.pairwise(widths)]
    return nn.Sequential(*[module for layer in layers for module in (layer, activation())][:-1])


def image_problem(
    rows: int, *, seed: int, loss: GaussNewtonLoss, data: str = "fashion-mnist", **network: Any
) -> Problem:
    """Training rows of `images`, with a network of that seed."""
    data = images(rows, seed, data)
    generator = torch.Generator().manual_seed(seed)
    model = revgn.RevMLP(data.in_features, CLASSES, generator=generator, **network)
    return on_device(model, data.inputs, _targets(data.targets, loss), loss)


@functools.lru_cache(maxsize=3)
def images(rows: int, seed: int, data: str = "fashion-mnist") -> revgn_lab.data.Dataset:
    """A data set of images with so many training rows, or digits with 1,400 at most where it cannot be had."""
    try:
        return revgn_lab.data.load(data, rows=rows, seed=seed)
    except (DataError, OSError):
        return revgn_lab.data.load("digits", rows=min(rows, 1400), seed=seed)


def one_hot(classes: Tensor) -> Tensor:
    """Targets for squared error, float32."""
    return functional.one_hot(classes, CLASSES).float()


@torch.no_grad()
def training_loss(problem: Problem) -> float:
    """The loss on all rows of the batch."""
    return float(problem.loss(problem.model(problem.inputs), problem.targets))


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, classes: Tensor) -> float:
    """Share of rows whose class gets the largest output."""
    return scores(model, inputs, classes)[0]


@torch.no_grad()
def scores(model: nn.Module, inputs: Tensor, classes: Tensor) -> tuple[float, float]:
    """Share of rows whose class gets the largest output, and the mean over rows of the cross-entropy."""
    right, loss = 0, 0.0
    for some, true in zip(inputs.split(2000), classes.cpu().split(2000), strict=True):
        outputs = model(some.to(device())).cpu()
        right += int((outputs.argmax(1) == true).sum())
        loss += float(functional.cross_entropy(outputs, true, reduction="sum"))
    return right / len(inputs), loss / len(inputs)


def plain_forward(model: revgn.RevMLP) -> Callable[[Tensor], Tensor]:
    """The same network's outputs as one would write them for autograd alone, ReLU in place where nothing needs it."""
    blocks = [(block.f, block.g) for block in model.layers]

    def shift(coupling: nn.Module, half: Tensor) -> Tensor:
        features = half @ coupling.features.projection
        if coupling.features.activation.name == "relu":
            features = torch.relu_(features)
        return coupling.linear(features)

    def outputs(inputs: Tensor) -> Tensor:
        a, b = halves(model.lifted(inputs))
        for f, g in blocks:
            a = a + shift(f, b)
            b = b + shift(g, a)
        return torch.cat((a, b), dim=1) @ model.readout

    return outputs


def on_device(model: nn.Module, inputs: Tensor, targets: Tensor, loss: GaussNewtonLoss) -> Problem:
    """The problem, where it is computed."""
    place = device()
    return Problem(model.to(place), inputs.to(place), targets.to(place), loss)


def _targets(classes: Tensor, loss: GaussNewtonLoss) -> Tensor:
    return one_hot(classes) if isinstance(loss, MSELoss) else classes
