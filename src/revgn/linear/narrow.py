"""Features whose structure bounds their rank below their rows: solved at the width where nothing is lost."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear.features import Features, Weights
from revgn.linear.kept import Kept
from revgn.linear.map import LinearMap
from revgn.linear.sharded import beside
from revgn.linear.spread import SpreadFeatures


@dataclass(frozen=True, eq=False)
class Narrowed:
    """The map [Z C, 1] in place of [Z V, 1], for V = C Q with C (k, k) and orthonormal rows Q.

    Both have the same singular values, and [Z V, 1]^+ = diag(Q^T, 1) [Z C, 1]^+.

    Attributes:
        map: [Z C, 1], (n, k + 1).
    """

    map: Features | SpreadFeatures
    _basis: Tensor
    _root: Tensor

    def widen(self, x: Weights) -> Weights:
        """The vector diag(Q^T, 1) x of the wide map, for x of the narrow one; as a layer's weight is in memory."""
        dual = torch.linalg.solve_triangular(self._root.mT, x[0], upper=True)  # C^-T Delta, (k, m)
        return (beside(dual.mT, self._basis) @ self._basis).mT, x[1]


def narrowed(map: LinearMap, *, any_rows: bool = False) -> Narrowed | None:
    """The narrower map, if the features are linear in fewer inputs than there are rows; None otherwise.

    Args:
        map: features as a product, or any other map.
        any_rows: whether fewer inputs than features are enough.
    """
    local = map.local if isinstance(map, SpreadFeatures) else map
    product = local.product if isinstance(local, Features) else None
    if product is None:
        return None
    k, h = product.basis.shape
    if (k + map.columns - h >= map.rows and not any_rows) or k >= h:
        return None
    root = _root_of(product.basis)
    if root is None:
        return None
    root = root.to(product.rows.dtype)
    narrow = Features.of(product.rows @ root, bias=map.columns > h)
    if isinstance(map, SpreadFeatures):
        return Narrowed(SpreadFeatures(narrow, map.shard), product.basis, root)
    return Narrowed(narrow, product.basis, root)


def _root(basis: Tensor) -> Tensor | None:
    """The lower C with C C^T = V V^T for V (k, h), in float64; None where V has less than full rank."""
    root, info = torch.linalg.cholesky_ex(Features.of(basis).gram())
    return root if info == 0 else None


_root_of = Kept(_root)  # a basis is frozen as a rule
