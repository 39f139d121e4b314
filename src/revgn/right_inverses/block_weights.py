"""How the blocks share one step: which are solved, and the weight c_l of each."""

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from revgn._names import unknown_name

Surjective = Mapping[int, bool]
"""For every block solved so far, from the last to the first, whether both its couplings are surjective."""


class BlockWeights(abc.ABC):
    """Strategy for the c_l. Blocks are known by their index."""

    @abc.abstractmethod
    def wanted(self, trainable: Sequence[int], possible: Sequence[int]) -> Sequence[int]:
        """The blocks to solve, given the trainable ones, and those among them that may be surjective on this batch."""

    def enough(self, surjective: Surjective) -> bool:
        """Whether no further block need be solved."""
        return False

    @abc.abstractmethod
    def weigh(self, surjective: Surjective) -> Mapping[int, float]:
        """c_l of the blocks in use; empty if none of those solved is of use."""


@dataclass(frozen=True)
class Exact(BlockWeights):
    """Uniform over the surjective blocks."""

    def wanted(self, trainable: Sequence[int], possible: Sequence[int]) -> Sequence[int]:
        return possible

    def weigh(self, surjective: Surjective) -> Mapping[int, float]:
        return uniform([index for index, is_surjective in surjective.items() if is_surjective])


@dataclass(frozen=True)
class Last(Exact):
    """The last surjective block alone: nothing below it is solved or pulled back."""

    def enough(self, surjective: Surjective) -> bool:
        return any(surjective.values())


@dataclass(frozen=True)
class Uniform(BlockWeights):
    """1 / L for each of the L trainable blocks, surjective or not."""

    def wanted(self, trainable: Sequence[int], possible: Sequence[int]) -> Sequence[int]:
        return trainable

    def weigh(self, surjective: Surjective) -> Mapping[int, float]:
        return uniform(list(surjective))


@dataclass(frozen=True)
class Sum(Uniform):
    """c_l = 1 for every block: L times the Newton step, as the authors' code takes it."""

    def weigh(self, surjective: Surjective) -> Mapping[int, float]:
        return dict.fromkeys(surjective, 1.0)


@dataclass(frozen=True)
class Given(BlockWeights):
    """Weights of the user's own, one a block; blocks of weight 0 are not solved."""

    weights: tuple[float, ...]

    def wanted(self, trainable: Sequence[int], possible: Sequence[int]) -> Sequence[int]:
        wanted = [index for index in trainable if self.weights[index] != 0.0]
        if not wanted:
            raise ValueError(
                f"block_weights={self.weights} has weight only for blocks that are frozen or not in this optimizer, "
                f"which trains {list(trainable)}; weigh one of these"
            )
        return wanted

    def weigh(self, surjective: Surjective) -> Mapping[int, float]:
        return {index: self.weights[index] for index in surjective}


KINDS: dict[str, BlockWeights] = {"exact": Exact(), "last": Last(), "uniform": Uniform(), "sum": Sum()}


def find_block_weights(weights: str | Sequence[float], num_blocks: int | None) -> BlockWeights:
    """The strategy of that name, or the given weights; their number is not checked for num_blocks = None.

    Raises:
        ValueError: an unknown name; not one finite weight a block; all weights zero.
    """
    if isinstance(weights, str):
        if weights not in KINDS:
            raise ValueError(unknown_name("block_weights", weights, KINDS))
        return KINDS[weights]
    given = tuple(float(weight) for weight in weights)
    expected = len(given) if num_blocks is None else num_blocks
    if len(given) != expected or not all(map(math.isfinite, given)) or not any(given):
        raise ValueError(
            f"block_weights={given}; expected {expected} finite numbers, one a block, not all zero, "
            f"or one of {', '.join(KINDS)}"
        )
    return Given(given)


def uniform(blocks: Sequence[int]) -> dict[int, float]:
    """1 / L for each of L blocks."""
    return dict.fromkeys(blocks, 1.0 / len(blocks)) if blocks else {}
