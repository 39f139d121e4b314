"""What a step sends whose features lie in several processes: as it was seen, and by a formula of the sizes alone."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

import revgn
from collectives import Collectives
from networks import normal, rev_mlp
from revgn.losses import MSELoss


@dataclass(frozen=True)
class Sizes:
    """Of a network of `blocks`, `solved` of which a step solves, from the last down, at n rows."""

    n: int
    half: int
    d_out: int
    blocks: int
    solved: int
    certified: int

    @property
    def triangle(self) -> int:
        """Entries of the lower triangle of a Gram matrix, with what lies above it in squares of 256 on the diagonal."""
        ends = [min(start + 256, self.n) for start in range(0, self.n, 256)]
        return sum((stop - start) * stop for start, stop in zip([0, *ends], ends, strict=False))

    @property
    def of_gradient(self) -> Counter[tuple[int, ...]]:
        """What is summed up over processes in a forward and a backward pass, by shape."""
        # The first half-coupling reads the inputs, which need no gradient.
        return Counter({(self.n, self.half): 4 * self.blocks - 1})

    def of_step(self, refined: int = 0, refined_last: int = 0) -> Counter[tuple[int, ...]]:
        """Likewise in a Gauss-Newton step, of which so many solves are refined once, and that for r itself so often."""
        solved, half = self.solved, self.half
        found: Counter[tuple[int, ...]] = Counter()
        found[self.n, half] += 2 * self.blocks + 2 * solved - 1  # products with the weights, forwards and backwards
        found[(self.triangle,)] += 2 * solved
        found[self.n, 8] += 2 * solved  # the defect of each solution by eight probes
        found[self.n, min(8, self.d_out)] += 1  # that of the solution for r, which may have fewer columns than probes
        found[self.n, half] += refined
        found[self.n, 8] += refined
        found[self.n, self.d_out] += refined_last
        # The certificate: forwards, backwards down to the lowest block that moves, and the derivative of that.
        found[self.certified, half] += 2 * self.blocks + 4 * solved - 1
        found[(2 * solved,)] += 2  # whether changes are finite, and their products with gradients, for each weight
        return found


def sent(mesh: Any) -> list[tuple[Any, Any]]:
    """What a gradient sends, and what a step and the optimizer's part of it, for two networks."""
    found: list[tuple[Any, Any]] = []
    for blocks, first in ((2, "tanh"), (3, "identity")):
        model = rev_mlp(24, 3, num_blocks=blocks, hidden_features=900, first_activation=first, init_std=1e-3)
        model = revgn.parallel.parallelize(model, mesh)
        optimizer = revgn.GaussNewton(model, MSELoss(), 0.5, momentum=0.9, weight_decay=1e-2)
        inputs, targets = normal(300, 24), normal(300, 3, seed=1)
        with Collectives() as gradient:
            (model(inputs) - targets).square().mean().backward()
            torch.optim.SGD(model.parameters(), 0.0, momentum=0.9).step()
        with Collectives() as step:
            assert optimizer.backward(inputs, targets).exact
            optimizer.step()
        found.append((dict(gradient.by_shape), dict(step.by_shape)))
    return found


def entries(traffic: Counter[tuple[int, ...]]) -> int:
    return sum(count * torch.Size(shape).numel() for shape, count in traffic.items())
