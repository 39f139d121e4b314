"""The exact Gauss-Newton step of a reversible network, as a torch optimizer."""

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from revgn._names import unknown_name
from revgn.losses import GaussNewtonLoss
from revgn.nn import Coupling, Point, ReversibleNetwork
from revgn.optim.base import DirectionOptimizer
from revgn.optim.block_weights import find_block_weights, uniform
from revgn.optim.report import Report
from revgn.optim.reversible import BlockStep, ForwardPass, block_steps, forward_pass
from revgn.solvers import Cholesky, Design, Solution, Solver
from revgn.solvers.base import EXACT


class GaussNewton(DirectionOptimizer[ReversibleNetwork]):
    """Exact Gauss-Newton for a `ReversibleNetwork`, at about the price of two gradients.

    The step is a right inverse of the Jacobian J of the outputs by all parameters, applied to the direction r that
    the loss asks for in output space: J Delta = r. In every block it is the pseudo-inverse of the block's own features
    times r, pulled back to that block by a JVP through the inverse network.

        for inputs, targets in loader:
            report = optimizer.backward(inputs, targets)
            optimizer.step()

    It is exact where at least one block's features have as many independent directions as the batch has rows, so
    for batches smaller than `hidden_features`; `Report.exact` tells, step by step. Use it for full batches. On
    mini-batches it solves each batch and forgets the others. For networks that are not reversible see
    `revgn.dense.GaussNewton`. Cost: O(L n d^2 + L n^2 d) time, O(n d + parameters) memory.

    Args:
        model: a `ReversibleNetwork`, such as `RevMLP`.
        loss: from `revgn.losses`.
        lr: 1 is the full Newton step.
        solver: of the least-squares problem in each half-coupling; None: `Cholesky()`, the fastest of those whose
            steps are exact in float32 and in float64.
        block_weights: how the blocks share the step. "exact": uniform over the blocks that are surjective on the
            batch; uniform over all, with a warning once, if none is. "last": the last surjective block alone, nothing
            below it is solved. "uniform": 1/L each. "sum": 1 each, L times the Newton step, as the authors' code
            takes it. Or a sequence of L numbers.
        keep_features: keep every block's features from the forward pass: fastest, O(L n h) memory. False rebuilds
            them by running the network backwards: memory flat in depth, two more products per half-coupling.
        chunk_rows: for batches whose features do not fit into memory: no more rows of features than this are held at
            once, and they are made again wherever they are needed. Works with the solvers that do not factor the
            features themselves: Cholesky, Eigh, CG, Randomized. None: all rows at once.
        right_inverse: "reversible", the route through the inverse network.
        params: a part of the model's parameters, or parameter groups; None: all. Blocks of which a part is frozen or
            left out take no part in the step.
        momentum, dampening, weight_decay, nesterov: as in `torch.optim.SGD`.

    Raises:
        TypeError: the model is not a `ReversibleNetwork`, or the loss knows no direction.
        ValueError: an option out of range; trainable parameters outside the couplings.

    Source: Buffelli et al., NeurIPS 2024, arXiv 2411.07979, section 4.
    """

    def __init__(
        self,
        model: ReversibleNetwork,
        loss: GaussNewtonLoss,
        lr: float = 1.0,
        *,
        solver: Solver | None = None,
        block_weights: str | Sequence[float] = "exact",
        keep_features: bool = True,
        chunk_rows: int | None = None,
        right_inverse: Literal["reversible"] = "reversible",
        params: Iterable[Any] | None = None,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if not isinstance(model, ReversibleNetwork):
            raise TypeError(
                f"model is a {type(model).__name__}, not a revgn.nn.ReversibleNetwork such as revgn.RevMLP; "
                "for any other module use revgn.dense.GaussNewton"
            )
        if right_inverse != "reversible":
            raise ValueError(unknown_name("right_inverse", right_inverse, ["reversible"]))
        _require_couplings_only(model)
        self.solver = Cholesky() if solver is None else solver
        self.block_weights = find_block_weights(block_weights, len(model.blocks))
        if chunk_rows is not None and chunk_rows < 1:
            raise ValueError(f"chunk_rows must be at least 1, or None for all rows at once; got {chunk_rows}")
        self.keep_features = keep_features
        self.chunk_rows = chunk_rows
        self._warned = False
        super().__init__(
            model,
            loss,
            params=params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def _direction(self, inputs: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Report]:
        trainable = self._trainable_blocks()
        possible = [index for index in trainable if self.model.layers[index].max_rank >= len(inputs)]
        wanted = self.block_weights.wanted(trainable, possible) or trainable

        forward = self._forward_pass(inputs, wanted)
        point, loss = self._loss_at(inputs, forward.outputs, targets)
        r = point.direction

        solved = self._solve_blocks(forward, r, wanted)
        weights = self.block_weights.weigh({index: step.surjective for index, step in solved.items()})
        if not weights:
            rest = set(trainable) - set(solved)
            if rest:
                solved |= self._solve_blocks(self._forward_pass(inputs, rest), r, rest)
            weights = uniform(trainable)
            self._warn_inexact(len(inputs), solved)

        steps = {name: step.mul_(c) for index, c in weights.items() for name, step in solved[index].steps.items()}
        predicted = float(point.after(self._newton_steps(weights)))
        return steps, self._report(forward.outputs, loss, predicted, solved, weights)

    def _forward_pass(self, inputs: Tensor, wanted: Collection[int]) -> ForwardPass:
        """The forward pass, with the features of the blocks that a step of the wanted ones goes back through."""
        keep_from = min(wanted) if self.keep_features else len(self.model.layers)
        return forward_pass(self.model, inputs, keep_from=keep_from, chunk_rows=self.chunk_rows)

    def _solve_blocks(self, forward: ForwardPass, r: Tensor, wanted: Collection[int]) -> dict[int, BlockStep]:
        """The steps of the wanted blocks, from the last down until the block weights have enough."""
        solved: dict[int, BlockStep] = {}
        for index, step in block_steps(self.model, forward, r, wanted, self._solve):
            solved[index] = step
            if self.block_weights.enough({i: s.surjective for i, s in solved.items()}):
                break
        return solved

    def _solve(self, coupling: Coupling, at: Point, target: Tensor) -> Solution:
        return self.solver.solve(Design(at, coupling.bias), target)

    def _trainable_blocks(self) -> list[int]:
        """The blocks all of whose parameters are this optimizer's and not frozen."""
        chosen = {id(p) for p in self._named_parameters().values() if p.requires_grad}
        trainable = [
            index
            for index, block in enumerate(self.model.layers)
            if block.couplings and all(id(p) in chosen for p in block.parameters())
        ]
        if not trainable:
            raise ValueError(
                "no block has all its parameters trainable and in this optimizer; unfreeze one, or pass it in params"
            )
        return trainable

    def _newton_steps(self, weights: Mapping[int, float]) -> float:
        """How many full Newton steps `step` takes at once: the sum of c_l lr_l."""
        rates = {id(p): float(group["lr"]) for group in self.param_groups for p in group["params"]}
        layers = self.model.layers
        return sum(c * rates[id(layers[index].couplings[0].linear.weight)] for index, c in weights.items())

    def _report(
        self,
        outputs: Tensor,
        loss: float,
        predicted_loss: float,
        solved: Mapping[int, BlockStep],
        weights: Mapping[int, float],
    ) -> Report:
        defect = max(max(solved[index].defects) for index in weights)
        tolerance = EXACT[outputs.dtype]
        blocks = range(len(self.model.blocks))
        return Report(
            loss=loss,
            outputs=outputs,
            defect=defect,
            exact=defect <= tolerance and abs(sum(weights.values()) - 1) <= tolerance,
            predicted_loss=predicted_loss,
            block_weights=tuple(weights.get(index, 0.0) for index in blocks),
            ranks=tuple(solved[index].ranks if index in solved else None for index in blocks),
            defects=tuple(solved[index].defects if index in solved else None for index in blocks),
        )

    def _warn_inexact(self, rows: int, solved: Mapping[int, BlockStep]) -> None:
        if self._warned:
            return
        self._warned = True
        best = max(min(step.ranks) for step in solved.values())
        warnings.warn(
            f"no block is surjective on this batch: its {rows} rows need features of rank {rows}, the best block has "
            f"{best}. The step is uniform over all blocks and not exact. Use a smaller batch or more hidden_features "
            "for an exact step, block_weights='uniform' to have this one without the warning.",
            stacklevel=5,
        )


def _require_couplings_only(model: ReversibleNetwork) -> None:
    couplings = [coupling for layer in model.layers for coupling in layer.couplings]
    known = {id(p) for coupling in couplings for p in coupling.linear.parameters()}
    strange = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in known]
    if strange:
        raise ValueError(
            f"{', '.join(strange[:3])} can be trained but lies outside the couplings' linear layers; "
            "freeze it with requires_grad_(False), or use revgn.dense.GaussNewton"
        )
