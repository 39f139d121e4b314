"""Every right inverse with every option that changes what it computes; properties run over all of them."""

from dataclasses import dataclass

from torch import nn

from revgn.nn import ReversibleNetwork
from revgn.right_inverses import Adjoint, MoorePenrose, Reversible, RightInverse


@dataclass(frozen=True)
class RightInverseCase:
    """A right inverse, and what is known of it.

    Attributes:
        right_inverse: itself.
        any_module: it exists for any module; otherwise for reversible networks alone.
        exact: its step moves the outputs by r wherever one surjective layer is enough for that.
        by_curvature: it weighs the outputs by the loss's curvature, so that where that has no full rank the step moves
            them by r up to what the curvature does not see.
        shortest: its step is J^+ r.
        same_as: where all blocks are surjective, the entry whose step it takes by another way.
        one_block: it moves one block alone, by a long step that only converges from near.
        slow: it takes long on anything but the smallest problems, and is left out where that matters.
        chunked: features come in chunks, which not every solver takes.
    """

    right_inverse: RightInverse
    any_module: bool = False
    exact: bool = True
    by_curvature: bool = False
    shortest: bool = False
    same_as: str | None = None
    one_block: bool = False
    slow: bool = False
    chunked: bool = False

    def exists_for(self, model: nn.Module) -> bool:
        return self.any_module or isinstance(model, ReversibleNetwork)


RIGHT_INVERSES: dict[str, RightInverseCase] = {
    "reversible": RightInverseCase(Reversible()),
    "reversible, last block": RightInverseCase(Reversible("last"), one_block=True),
    "reversible, uniform": RightInverseCase(Reversible("uniform"), exact=False, same_as="reversible"),
    "reversible, sum": RightInverseCase(Reversible("sum"), exact=False),
    "reversible, features rebuilt": RightInverseCase(Reversible(keep_features=False), same_as="reversible"),
    "reversible, in chunks": RightInverseCase(Reversible(chunk_rows=3), same_as="reversible", slow=True, chunked=True),
    "adjoint": RightInverseCase(Adjoint(), any_module=True),
    "moore-penrose": RightInverseCase(MoorePenrose(), any_module=True, by_curvature=True, shortest=True),
    # Less than any kernel takes: by conjugate gradients on products with J, unless a solver is named.
    "moore-penrose, by products": RightInverseCase(
        MoorePenrose(memory="100 B"),
        any_module=True,
        by_curvature=True,
        shortest=True,
        same_as="moore-penrose",
        slow=True,
    ),
}
