"""The right inverse of the Jacobian by way of the inverse network (Buffelli et al. 2024, section 4)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from revgn.linear import Inputs, of_all_rows, rows_of
from revgn.linear.functional import count_rows
from revgn.linear.layers import own
from revgn.linear.sharded import is_sharded, placed
from revgn.nn import Coupling, ReversibleBlock, ReversibleNetwork
from revgn.nn.blocks import halves
from revgn.right_inverses.block_weights import BlockWeights, find_block_weights, trainable_blocks, uniform
from revgn.right_inverses.right_inverse import (
    Change,
    Equation,
    FactorOf,
    LayerReport,
    Linearized,
    RightInverse,
    on_host,
    solve,
    weighed,
)
from revgn.solvers import Solution


@dataclass(frozen=True)
class Reversible(RightInverse):
    """The talk's right inverse: in each block the pseudo-inverse of its own features times r, pulled back to the block.

    For `ReversibleNetwork`s, and the cheapest exact step there is: each block alone moves the outputs by all of r, by
    a JVP through the inverse network, and the blocks share the work. It is exact where at least one block's features
    have as many independent directions as the batch has rows, times the positions over which the block's weights are
    shared, as in `RevConv`. What it makes small is each layer's Phi Delta = u, not the change itself, and it
    generalises worse than `MoorePenrose` at the same training loss (docs/theory.md).

    Args:
        block_weights: how the blocks share the step. "exact": uniform over the blocks that are surjective on the
            batch; uniform over all, with a warning once, if none is. "last": the last surjective block alone, nothing
            below it is solved. "uniform": 1/L each. "sum": 1 each, L times the Newton step, as the authors' code
            takes it. Or a sequence of L numbers.
        keep_features: keep every block's features from the forward pass: fastest, O(L n h) memory. False rebuilds
            them by running the network backwards: memory flat in depth, two more products per half-coupling.
        chunk_rows: for batches whose features do not fit into memory: those of no more rows of the batch than this are
            held at once, and they are made again wherever they are needed. Works with the solvers that do not factor
            the features themselves: Cholesky, Eigh, CG, Randomized. None: all rows at once.

    Raises:
        ValueError: unknown block_weights, or chunk_rows below 1.

    Source: Buffelli et al., NeurIPS 2024, arXiv 2411.07979, section 4.
    """

    takes_shards: ClassVar[bool] = True

    block_weights: str | Sequence[float] = "exact"
    keep_features: bool = True
    chunk_rows: int | None = None

    def __post_init__(self) -> None:
        if self.chunk_rows is not None and self.chunk_rows < 1:
            raise ValueError(f"chunk_rows must be at least 1, or None for all rows at once; got {self.chunk_rows}")
        find_block_weights(self.block_weights, None)

    def check(self, model: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
        self._blocks(model, parameters)

    def linearize(self, model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> "ReversibleLinearized":
        # Asked at every batch: networks are pruned, parametrised and frozen after they were made.
        return ReversibleLinearized(self, inputs, *self._blocks(model, parameters))

    def _blocks(
        self, model: nn.Module, parameters: Sequence[nn.Parameter]
    ) -> tuple[ReversibleNetwork, BlockWeights, list[int]]:
        """The network, how its blocks share a step, and which of them may move."""
        if not isinstance(model, ReversibleNetwork):
            raise TypeError(
                f"model is a {type(model).__name__}, not a revgn.nn.ReversibleNetwork such as revgn.RevMLP; for any "
                "other module use right_inverse='moore-penrose' or 'adjoint'"
            )
        _refuse_other_shards(model)
        weights = find_block_weights(self.block_weights, len(model.blocks))
        return model, weights, trainable_blocks(model, parameters)


@dataclass(frozen=True, eq=False)
class BlockStep:
    """The step of one block: alone it moves the outputs by the whole of r, if the block is surjective.

    Ranks and defects are those of f and g; the suspicion is how much each row may have gone astray, (n,).
    """

    changes: dict[nn.Parameter, Tensor]
    measured_ranks: tuple[Any, Any]
    defects: tuple[float, float]
    surjective: bool
    suspicion: Tensor


@dataclass(eq=False)
class ReversibleLinearized(Linearized):
    """A reversible network at a batch: outputs, the last state, and the features of blocks, kept or to be rebuilt."""

    options: Reversible
    inputs: Inputs
    network: ReversibleNetwork
    weights: BlockWeights
    trainable: Sequence[int]

    def __post_init__(self) -> None:
        layers = self.network.layers
        self.rows = rows_of(self.inputs)
        self.count = count_rows(self.inputs)
        possible = [index for index in self.trainable if layers[index].max_rank >= self.count]
        self.wanted = self.weights.wanted(self.trainable, possible) or self.trainable
        with self.rows.together():
            self._run_forward(self.wanted)
        self.outputs = self.rows.everywhere(self.state @ self.network.readout)

    def _run_forward(self, wanted: Collection[int]) -> None:
        """The forward pass, with the features of the blocks that a step of the wanted ones goes back through."""
        layers = self.network.layers
        keep_from = min(wanted) if self.options.keep_features else len(layers)
        self.points: dict[int, Any] = {}
        state = self.network.lifted(self.rows.local)
        for index, block in enumerate(layers):
            state, point = block.linearize(state, self.options.chunk_rows)
            if index >= keep_from:
                self.points[index] = point
            del point  # else its features would live on beside the next block's
        self.state = state

    def change(self, equation: Equation, factor: FactorOf) -> Change:
        solved = self._solve_blocks(equation, factor, self.wanted)
        weights = self.weights.weigh({index: step.surjective for index, step in solved.items()})
        none_surjective = not weights
        if none_surjective:  # then the least-squares step of all
            rest = set(self.trainable) - set(solved)
            if rest:
                self._run_forward(rest)
                solved |= self._solve_blocks(equation, factor, rest)
            weights = uniform(self.trainable)
        layers = self._layers(solved, weights)
        changes = {p: delta.mul_(c) for index, c in weights.items() for p, delta in solved[index].changes.items()}
        return Change(
            by_parameter=changes,
            defect=max(max(solved[index].defects) for index in weights),
            layers=layers,
            suspicion=torch.stack([solved[index].suspicion for index in weights]).sum(0),
            warning=self._inexact(layers) if none_surjective else None,
        )

    def _solve_blocks(self, equation: Equation, factor: FactorOf, wanted: Collection[int]) -> dict[int, BlockStep]:
        """The steps of the wanted blocks, each moving the outputs by r, from the last down to what is enough."""

        def solved(coupling: Coupling, point: Any, target: Tensor) -> Solution:
            map = of_all_rows(point.map, self.rows)
            made = factor(weighed(map, equation.row_root), _weight(coupling))
            return solve(made, map, self.rows.everywhere(coupling.features.split(target)), equation.row_root)

        steps: dict[int, BlockStep] = {}
        r = self.rows.here(equation.r)
        readout = self.network.readout_inverse()
        tangent = r @ readout  # T_L = r U^+
        state = self.state
        layers = self.network.layers
        lowest = min(wanted, default=len(layers))
        for index in reversed(range(lowest, len(layers))):
            block = layers[index]
            if index in self.points:
                point = self.points[index]
            else:
                state, point = block.unwind(state, self.options.chunk_rows)
            if index not in wanted or not isinstance(block, ReversibleBlock):
                tangent = block.pull_back(point, tangent)
                continue
            ta_out, tb_out = halves(tangent)
            tb = tb_out - block.g.jvp(point.g, ta_out)
            if index == len(layers) - 1 and block.f.positions == 1 and r.shape[1] < ta_out.shape[1]:
                # The last block's ta' = r U_a^+ has rank d_out: solve for r alone.
                f = solved(block.f, point.f, r).spread(halves(readout)[0])
            else:
                f = solved(block.f, point.f, ta_out)  # Delta_f = Phi_f^+ ta'
            # What f has moved reaches b' through g and must not be moved twice. Where f moves all of ta' this is tb.
            target = tb if f.exact else tb_out - block.g.jvp(point.g, block.f.features.join(self.rows.here(f.moved)))
            g = solved(block.g, point.g, target)  # Delta_g = Phi_g^+ (tb' - J_g[Phi_f Delta_f] W_g)
            steps[index] = _block_step(block, f, g, self.count)
            if index == lowest or (self.weights.last and steps[index].surjective):
                break
            ta = ta_out - block.f.jvp(point.f, tb)
            tangent = torch.cat((ta, tb), dim=-1)
        return steps

    def _layers(self, solved: Mapping[int, BlockStep], weights: Mapping[int, float]) -> tuple[LayerReport, ...]:
        names = {module: name for name, module in self.network.named_modules()}
        known = [(index, half) for index in solved for half in (0, 1)]
        ranks = on_host([solved[index].measured_ranks[half] for index, half in known])
        measured = dict(zip(known, ranks, strict=True))
        return tuple(
            LayerReport(
                name=names[coupling],
                block=index,
                rank=measured.get((index, half)),
                defect=solved[index].defects[half] if index in solved else None,
                weight=weights.get(index, 0.0),
            )
            for index, block in enumerate(self.network.layers)
            for half, coupling in enumerate(block.couplings or (block,))
        )

    def _inexact(self, layers: Sequence[LayerReport]) -> str:
        positions = {n: m.positions for n, m in self.network.named_modules() if isinstance(m, Coupling)}
        return _inexact(self.count, positions, layers)


def _block_step(block: ReversibleBlock, f: Solution, g: Solution, rows: int) -> BlockStep:
    """The block's step at so many rows, without the features it was solved from, whose memory it would hold."""
    changes: dict[nn.Parameter, Tensor] = {}
    for coupling, solution in ((block.f, f), (block.g, g)):
        changes[_weight(coupling)] = placed(solution.delta.mT, _weight(coupling))
        bias = own(coupling.linear, "bias")
        if bias is not None and solution.bias is not None:
            changes[bias] = placed(solution.bias, bias)
    # What the solver left of a row, and what rounding makes of a large target, is what the way up may blow up.
    eps = torch.finfo(f.target.dtype).eps
    astray = [s.left.square().sum(1) + (eps * s.target).square().sum(1) for s in (f, g)]
    suspicion = torch.stack([positions.view(rows, -1).sum(1) for positions in astray]).sum(0)
    surjective = f.surjective and g.surjective
    return BlockStep(changes, (f.measured_rank, g.measured_rank), (f.defect, g.defect), surjective, suspicion)


def _refuse_other_shards(network: ReversibleNetwork) -> None:
    """Raise ValueError for weights that are distributed in another way than over their features."""
    for index, block in enumerate(network.layers):
        for coupling in block.couplings:
            weight: Any = own(coupling.linear, "weight")
            if weight is None or not is_sharded(weight):
                continue
            if len(weight.placements) != 1 or not weight.placements[0].is_shard(1):
                raise ValueError(
                    f"a weight of blocks.{index} is a DTensor with placements {weight.placements}; expected those of "
                    "revgn.parallel.parallelize(model, mesh), which shards features and weights alike: use that in "
                    "place of fully_shard or parallelize_module"
                )


def _weight(coupling: Coupling) -> nn.Parameter:
    weight = own(coupling.linear, "weight")
    assert weight is not None, "trainable blocks have weights of their own"
    return weight


def _inexact(rows: int, positions: Mapping[str, int], layers: Sequence[LayerReport]) -> str:
    """Why no block is surjective, by ranks where they tell; a layer needs one for each row and position."""
    defects: dict[int | None, float] = {}
    shares: dict[int | None, list[tuple[float, int, int]]] = {}
    for layer in layers:
        if layer.defect is None:
            continue
        defects[layer.block] = max(layer.defect, defects.get(layer.block, 0.0))
        if layer.rank is not None:
            needed = rows * positions[layer.name]
            shares.setdefault(layer.block, []).append((layer.rank / needed, layer.rank, needed))
    # Of a block the half that lacks most decides, and of all blocks the one that lacks least.
    share, rank, needed = max((min(halves) for halves in shares.values()), default=(1.0, rows, rows))
    if share < 1:
        why = f"its {rows} rows need features of rank {needed}, the best block has {rank}"
    else:
        why = f"of {rows} rows the best block leaves {min(defects.values()):.0e} of what it is to move"
    return (
        f"no block is surjective on this batch: {why}. The step is uniform over all blocks and not exact. Use a "
        "smaller batch or more hidden_features for an exact step, block_weights='uniform' to have this one without "
        "the warning."
    )
