"""How the blocks of a reversible network share one step: which may move, which are solved, and their weights c_l."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from revgn.linear.layers import own
from revgn.naming import unknown_name
from revgn.nn import ReversibleBlock, ReversibleNetwork

NAMES = ("exact", "last", "uniform", "sum")


@dataclass(frozen=True)
class BlockWeights:
    """The strategy for the c_l. Blocks are known by their index.

    Attributes:
        exact: whether only surjective blocks are of use.
        last: whether the first of use that is found, from the last block down, is enough.
        given: c_l of each block, of which those of weight 0 are not solved; None: uniform.
    """

    exact: bool = False
    last: bool = False
    given: tuple[float, ...] | None = None

    def wanted(self, trainable: Sequence[int], possible: Sequence[int]) -> Sequence[int]:
        """The blocks to solve, given the trainable ones, and those among them that may be surjective on this batch."""
        if self.given is None:
            return possible if self.exact else trainable
        wanted = [index for index in trainable if self.given[index] != 0.0]
        if not wanted:
            raise ValueError(
                f"block_weights={self.given} has weight only for blocks that are frozen or not in this optimizer, "
                f"which trains {list(trainable)}; weigh one of these"
            )
        return wanted

    def weigh(self, surjective: Mapping[int, bool]) -> dict[int, float]:
        """c_l of the blocks in use, given which of those solved are surjective; empty if none of them is of use."""
        if self.given is not None:
            return {index: self.given[index] for index in surjective}
        return uniform([index for index, is_surjective in surjective.items() if is_surjective or not self.exact])


def find_block_weights(weights: str | Sequence[float], num_blocks: int | None) -> BlockWeights:
    """The strategy of that name, or the given weights; their number is not checked for num_blocks = None.

    Raises:
        ValueError: an unknown name; not one finite weight a block; all weights zero.
    """
    if isinstance(weights, str) and weights != "sum":
        if weights not in NAMES:
            raise ValueError(unknown_name("block_weights", weights, NAMES))
        return BlockWeights(exact=weights in ("exact", "last"), last=weights == "last")
    given = (1.0,) * (num_blocks or 1) if weights == "sum" else tuple(float(weight) for weight in weights)
    expected = len(given) if num_blocks is None else num_blocks
    if len(given) != expected or not all(map(math.isfinite, given)) or not any(given):
        raise ValueError(
            f"block_weights={given}; expected {expected} finite numbers, one a block, not all zero, "
            f"or one of {', '.join(NAMES)}"
        )
    return BlockWeights(given=given)


def uniform(blocks: Sequence[int]) -> dict[int, float]:
    """1 / L for each of L blocks."""
    return dict.fromkeys(blocks, 1.0 / len(blocks)) if blocks else {}


def trainable_blocks(network: ReversibleNetwork, parameters: Sequence[nn.Parameter]) -> list[int]:
    """The blocks all of whose weights may change.

    Raises:
        ValueError: parameters that may change but have no closed form; a weight that blocks share; no block is left.
    """
    chosen = set(parameters)
    owners: Counter[nn.Parameter] = Counter()
    trainable: list[int] = []
    for index, block in enumerate(network.layers):
        if not isinstance(block, ReversibleBlock):
            continue
        weights = [own(coupling.linear, "weight") for coupling in block.couplings]
        biases = [own(coupling.linear, "bias") for coupling in block.couplings]
        held = [p for p in (*weights, *biases) if p is not None]
        owners.update(held)
        if all(weight is not None for weight in weights) and chosen.issuperset(held):
            trainable.append(index)
    names = {p: name for name, p in network.named_parameters()}
    strange = [names[p] for p in parameters if p not in owners]
    if strange:
        raise ValueError(
            f"{', '.join(strange[:3])} can be trained but is no weight or bias of a half-coupling's linear layer, so "
            "that the reversible step would leave it out; freeze it with requires_grad_(False), remove its "
            "parametrisation, or use right_inverse='moore-penrose'"
        )
    shared = [names[p] for p, count in owners.items() if p in chosen and count > 1]
    if shared:
        raise ValueError(
            f"{', '.join(shared[:3])} is the weight of several half-couplings, which the reversible step would move "
            "once for each; give each its own, or use right_inverse='moore-penrose'"
        )
    if not trainable:
        raise ValueError(
            "no block has all its parameters trainable and in this optimizer; unfreeze one, or pass it in params"
        )
    return trainable
