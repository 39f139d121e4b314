"""The right inverses between Moore-Penrose and adjoint: which norm of the change is made small."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revgn import Jacobian
from revgn.linear.functional import Inputs
from revgn.linear.jacobian_blocks import AffineBlock, PairTerm
from revgn.right_inverses import MoorePenrose
from revgn.right_inverses.moore_penrose import MoorePenroseLinearized

# Eigenvalues of a Gram matrix below this share of the largest are rounding, in float32 features.
ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-13}


@dataclass(frozen=True)
class Whitened(MoorePenrose):
    """The change with J Delta = r and the smallest sum over layers of ||(Phi_l^T Phi_l)^(s/2) Delta_l||^2.

    s = 0 is Moore-Penrose, s = 1 the adjoint step: by Lagrange Delta_l = Phi_l^T G_l^-s A_l^T v with
    sum_l (G_l^(1-s) o A_l A_l^T) v = r, for the layer's Gram matrix G_l = Phi_l Phi_l^T. Powers of G_l live on its
    range, so that layers need not be surjective. For modules of affine layers with one position, all of them trained.

    Args:
        power: s.
    """

    power: float = 0.0

    def linearize(self, model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> MoorePenroseLinearized:
        jacobian = Jacobian(model, inputs, parameters, compare_rows=False)
        blocks = [block for block in jacobian.blocks if isinstance(block, AffineBlock) and block.positions == 1]
        if len(blocks) != len(jacobian.blocks):
            raise TypeError("a layer is not affine with one position, and has no features to whiten")
        vars(jacobian)["blocks"] = [WhitenedBlock(**vars_of(block), power=self.power) for block in blocks]
        return MoorePenroseLinearized(jacobian, self)


def vars_of(block: AffineBlock) -> dict[str, object]:
    """What an affine block is made of."""
    return {name: getattr(block, name) for name in AffineBlock.__dataclass_fields__}


@dataclass(eq=False)
class WhitenedBlock(AffineBlock):
    """J_l, whose adjoint takes the target through G_l^-s: what it moves is then (G_l^(1-s) o A_l A_l^T) v."""

    power: float = 0.0

    @functools.cached_property
    def spectrum(self) -> tuple[Tensor, Tensor]:
        """The eigenvalues of G_l that are more than rounding, (k,), and their eigenvectors, (n, k), in float64."""
        w, q = torch.linalg.eigh(self.map().gram())
        kept = w > ROUNDING[self.features.dtype] * w[-1]
        return w[kept], q[:, kept]

    def raised(self, power: float) -> Tensor:
        """G_l to a power, on its range."""
        w, q = self.spectrum
        return (q * w**power) @ q.mT

    @functools.cached_property
    def pair_terms(self) -> Sequence[PairTerm]:
        a = self.cotangents[:, :, 0]
        return [(self.raised(1 - self.power).to(a.dtype), a, a)]

    def adjoint(self, v: Tensor) -> dict[nn.Parameter, Tensor]:
        u = torch.einsum("bdtq,bd->bq", self.cotangents, v)  # A^T v
        u = (self.raised(-self.power) @ u.double()).to(u.dtype)
        found = {self.weight: u.mT @ self.features[:, 0]}
        if self.bias is not None:
            found[self.bias] = u.sum(0)
        return found
