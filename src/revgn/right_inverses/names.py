"""Right inverses by name."""

from typing import Any

from torch import nn

from revgn.naming import unknown_name
from revgn.nn import ReversibleNetwork
from revgn.right_inverses.adjoint import Adjoint
from revgn.right_inverses.moore_penrose import MoorePenrose
from revgn.right_inverses.reversible import Reversible
from revgn.right_inverses.right_inverse import RightInverse

_NAMES = {"reversible": Reversible, "adjoint": Adjoint, "moore-penrose": MoorePenrose}


def find_right_inverse(right_inverse: RightInverse | str | None, model: nn.Module, **options: Any) -> RightInverse:
    """The right inverse that is meant: by name, as an object, or by the kind of model.

    Args:
        right_inverse: None: "reversible" for a `ReversibleNetwork`, "moore-penrose" for any other module.
        model: what is trained.
        options: of `Reversible`, those that were given.

    Raises:
        ValueError: an unknown name, or options of `Reversible` for another right inverse.
        TypeError: no right inverse.
    """
    if right_inverse is None:
        right_inverse = "reversible" if isinstance(model, ReversibleNetwork) else "moore-penrose"
    if isinstance(right_inverse, str):
        if right_inverse not in _NAMES:
            raise ValueError(unknown_name("right_inverse", right_inverse, _NAMES))
        if right_inverse == "reversible":
            return Reversible(**options)
        right_inverse = _NAMES[right_inverse]()
    if not isinstance(right_inverse, RightInverse):
        raise TypeError(
            f"right_inverse is a {type(right_inverse).__name__}; expected an object of revgn.right_inverses or one of "
            f"the names {', '.join(_NAMES)}"
        )
    if options:
        raise ValueError(
            f"{', '.join(options)} belong to the reversible right inverse; with {type(right_inverse).__name__} leave "
            "them out, or give right_inverse=revgn.right_inverses.Reversible(...) with them inside"
        )
    return right_inverse
