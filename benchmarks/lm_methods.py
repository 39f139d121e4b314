"""The methods of `lm`, each a training that is watched: its steps, its seconds, and the loss that ends it."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, jacrev, vmap
from torch.optim import LBFGS, AdamW

import package
import revgn
from problems import Problem, squared_error

OURS, TRF, MINPACK, BFGS, ADAMW = "LevenbergMarquardt", "SciPy trf", "SciPy lm", "LBFGS", "AdamW"
MANY = 10**9  # steps or evaluations, where time ends it


class Over(Exception):
    """A training has reached its target or the end of patience."""


@dataclass
class Watch:
    """Steps, seconds and the last loss of a training; it raises `Over` when there is enough of them.

    Attributes:
        most: steps.
    """

    target: float
    patience: float = math.inf
    most: int = MANY
    steps: int = 0
    loss: float = math.inf
    _taken: float = 0.0
    _since: float | None = None

    @property
    def seconds(self) -> float:
        return self._taken + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def reached(self) -> bool:
        return self.loss <= self.target

    def resume(self) -> None:
        self._since = time.perf_counter()

    def pause(self) -> None:
        self._taken, self._since = self.seconds, None

    def look(self, loss: float) -> None:
        """Take note of a loss that parameters have now."""
        self.loss = loss
        if self.reached or not math.isfinite(loss) or self.steps >= self.most or self.seconds > self.patience:
            self.pause()
            raise Over


def in_batches(take_step: Callable[[Tensor, Tensor], object], on: Problem, batch: int | None, watch: Watch) -> None:
    """Step after step on batches of so many rows, drawn anew every epoch; None: on all rows."""
    rows = batches(len(on.inputs), batch)
    while True:
        chosen = next(rows)
        inputs, targets = (on.inputs, on.targets) if chosen is None else (on.inputs[chosen], on.targets[chosen])
        watch.resume()
        take_step(inputs, targets)
        watch.pause()
        watch.steps += 1
        watch.look(loss_of(on))


def batches(rows: int, batch: int | None) -> Iterator[Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    while True:
        if batch is None or batch >= rows:
            yield None
        else:
            yield from torch.randperm(rows, generator=generator).split(batch)


@torch.no_grad()
def loss_of(on: Problem) -> float:
    return float(on.loss(on.model(on.inputs), on.targets))


def by_ours(on: Problem, watch: Watch, *, batch: int | None = None, **options: Any) -> None:
    optimizer = revgn.LevenbergMarquardt(on.model, on.loss, **options)
    in_batches(optimizer.step, on, batch, watch)


def by_package(on: Problem, watch: Watch, *, batch: int | None = None, **options: Any) -> None:
    module = package.training_module(on, **options)
    in_batches(module.training_step, on, batch, watch)


def by_adamw(on: Problem, watch: Watch, *, lr: float, batch: int | None = None) -> None:
    optimizer = AdamW(on.model.parameters(), lr=lr, fused=True)

    def step(inputs: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad()
        squared_error(on.model(inputs), targets).backward()
        optimizer.step()

    in_batches(step, on, batch, watch)


def by_lbfgs(on: Problem, watch: Watch, *, history_size: int) -> None:
    first, *_ = parameters = list(on.model.parameters())
    # Its tolerances end it long before these losses; here the watch does.
    optimizer = LBFGS(
        parameters, history_size=history_size, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        loss = squared_error(on.model(on.inputs), on.targets)
        watch.steps = max(0, optimizer.state[first].get("n_iter", 0) - 1)  # the one that this pass is of is not done
        watch.look(float(loss.detach()))
        loss.backward()
        return loss

    watch.resume()
    while True:
        optimizer.step(evaluate)


def by_scipy(on: Problem, watch: Watch, *, method: str, **options: Any) -> None:
    from scipy.optimize import least_squares

    model, targets = on.model.double(), on.targets.double()
    inputs, rows = on.inputs.double(), len(on.inputs)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    start = torch.cat([p.detach().flatten() for p in model.parameters()])

    def outputs(theta: Tensor, x: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return functional_call(model, named, (x,))

    by_rows = vmap(jacrev(lambda theta, x: outputs(theta, x.unsqueeze(0)).squeeze(0)), in_dims=(None, 0))

    def residuals(theta: Any) -> Any:
        with torch.no_grad():
            found = (outputs(torch.from_numpy(theta), inputs) - targets).flatten()
        watch.look(0.5 * float(found.square().sum()) / rows)
        return found.numpy()

    def jacobian(theta: Any) -> Any:
        watch.steps += 1
        return by_rows(torch.from_numpy(theta), inputs).flatten(0, 1).detach().numpy()

    watch.resume()
    ends = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15)
    least_squares(residuals, start.numpy(), jac=jacobian, method=method, max_nfev=MANY, **ends, **options)
    watch.pause()


METHODS: Mapping[str, Callable[..., None]] = {
    OURS: by_ours,
    package.NAME: by_package,
    TRF: by_scipy,
    MINPACK: by_scipy,
    BFGS: by_lbfgs,
    ADAMW: by_adamw,
}
