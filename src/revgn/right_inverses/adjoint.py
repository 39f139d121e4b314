"""The right inverse that needs no inverse network: r passed back by the adjoint of the layers above."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from revgn.linear import Inputs, Jacobian, LinearMap, jacobian_of, of_all_rows, rows_of
from revgn.linear.jacobian_blocks import AffineBlock, Block
from revgn.right_inverses.right_inverse import (
    Change,
    Equation,
    FactorOf,
    LayerReport,
    Linearized,
    RightInverse,
    on_host,
    relative_defect,
    solve,
    weighed,
)
from revgn.solvers import Factor, Solution
from revgn.solvers.solver import ENOUGH

# Passes that take up what rounding left of r; each costs two products a layer, and the first does nearly all.
REFINEMENTS = 2


@dataclass(frozen=True)
class Adjoint(RightInverse):
    """Among all steps that move the outputs by r that with the smallest sum over layers of ||Phi_l Delta_l||^2.

    For any module with affine layers that are surjective on the batch: at least as wide as it has rows, whatever lies
    between them. With A_l the derivative of the outputs by the layer's output, rows do not interact:

        M_i = sum_l A_l,i A_l,i^T,   M_i v_i = r_i,   u_l = A_l^T v,   Delta_l = Phi_l^+ u_l.

    A layer that each row uses at T positions, as a convolution or a layer of tokens, has n T rows in Phi_l, and must
    be as wide as that to be surjective. Layers that are not surjective are left alone, and so are parameters outside of
    affine layers. Where no layer is surjective all affine ones take the least-squares step, with a warning once. Cost:
    d_out backward passes to the layers' outputs, and a solve a layer.

    On mini-batches give it a solver that remembers, `solvers.RunningCurvature()`. No batch is then solved by itself,
    and one backward pass, as a gradient has, takes the place of M_i^-1: v = r / max(L, m) for L layers and
    m = r^T M r / r^T r over the batch. Layers that reach their targets then move the outputs along r by r together, or
    by less, however large their weights have become.

    Source: docs/theory.md, "A second exact step"; with one-sided covariance its direction is that of FOOF
    (Benzing 2022).
    """

    def linearize(self, model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> "AdjointLinearized":
        return AdjointLinearized(jacobian_of(model, inputs, parameters))


class AdjointLinearized(Linearized):
    """A module at a batch: the features of its affine layers, and the derivative of the outputs by what each gave."""

    def __init__(self, jacobian: Jacobian) -> None:
        self.jacobian = jacobian
        self.rows = rows_of(jacobian.inputs)
        self.layers = [block for block in jacobian.along(None) if _suits(block)]
        self.outputs = jacobian.outputs
        self._pulled: tuple[Tensor, list[AffineBlock]] | None = None
        if not self.layers:
            raise ValueError(
                "the model has no layer for an adjoint step: affine, with trainable weights, without groups, and with "
                "more features than positions, such as nn.Linear on (n, features); use right_inverse='moore-penrose'"
            )

    def change(self, equation: Equation, factor: FactorOf) -> Change:
        root = equation.row_root
        factors = {layer.weight: factor(weighed(self._map(layer), root), layer.weight) for layer in self.layers}
        if all(made.solver.remembers for made in factors.values()):
            return self._remembered(equation, factors)
        return self._solved(equation, factors)

    def _solved(self, equation: Equation, factors: Mapping[nn.Parameter, Factor]) -> Change:
        """The step of the surjective layers, exact; of all if none is."""
        layers = [block for block in self.jacobian.blocks if _suits(block)]
        surjective = [layer for layer in layers if self._map(layer).wide and factors[layer.weight].surjective]
        used = surjective or layers
        made: dict[nn.Parameter, Tensor] = {}
        moved = torch.zeros_like(equation.r)
        first: list[Solution] = []
        for _ in range(1 + (REFINEMENTS if surjective else 0)):
            solutions = self._solutions(used, equation, equation.r - moved, factors)
            step = {p: t for layer, s in zip(used, solutions, strict=True) for p, t in layer.by_parameter(*s.x).items()}
            made = {p: made[p] + t for p, t in step.items()} if made else step
            # J Delta
            moved = moved + self.rows.everywhere(torch.stack([layer.apply(step) for layer in used]).sum(0))
            first = first or solutions
            if relative_defect(moved, equation.r) <= ENOUGH[moved.dtype]:
                break
        return Change(
            by_parameter=made,
            defect=relative_defect(moved, equation.r),
            layers=self._reports(used, first),
            moved=moved,
            suspicion=(moved - equation.r).square().sum(1),
            warning=None if surjective else self._inexact(len(moved)),
        )

    def _remembered(self, equation: Equation, factors: Mapping[nn.Parameter, Factor]) -> Change:
        """The step by what solvers remember: one backward pass gives all layers their targets."""
        layers = self._layers_along(equation.r)
        pulled = [layer.cotangents[:, 0] for layer in layers]  # A_l^T r, (n, T, q)
        share = self._share(equation.r, pulled)
        solutions = [
            self._solution(layer, share * u, factors, equation) for layer, u in zip(layers, pulled, strict=True)
        ]
        made = {p: t for layer, s in zip(layers, solutions, strict=True) for p, t in layer.by_parameter(*s.x).items()}
        return Change(by_parameter=made, defect=0.0, layers=self._reports(layers, solutions))

    def _layers_along(self, r: Tensor) -> list[AffineBlock]:
        """The layers with A_l^T r; kept for another damping: a trial in between changes what autograd has saved."""
        if self._pulled is None or self._pulled[0] is not r:
            self._pulled = r, [block for block in self.jacobian.along(r) if _suits(block)]
        return self._pulled[1]

    def _share(self, r: Tensor, pulled: Sequence[Tensor]) -> Tensor:
        """1 / max(L, r^T M r / r^T r): v = r times this has r^T M v = r^T r, as M v = r has, or less."""
        here, whole = (
            torch.stack([torch.linalg.vector_norm(t, dtype=torch.float64) for t in each]).square().sum()
            for each in (pulled, [r])
        )
        along = self.rows.total(here) / whole  # NaN for r = 0, whose targets are zero
        return (1 / along.nan_to_num().clamp_min(len(pulled))).to(r.dtype)

    def _map(self, layer: AffineBlock) -> LinearMap:
        """[Phi, 1] of the layer, of all rows."""
        return of_all_rows(layer.map(), self.rows)

    def _solutions(
        self,
        layers: Sequence[AffineBlock],
        equation: Equation,
        r: Tensor,
        factors: Mapping[nn.Parameter, Factor],
    ) -> list[Solution]:
        """Delta_l = Phi_l^+ A_l^T v with M v = r."""
        outputs_by_layers = [layer.cotangents.flatten(2).double() for layer in layers]  # A_l, (n, d_out, T q)
        m = torch.stack([a @ a.mT for a in outputs_by_layers]).sum(0)  # (n, d_out, d_out)
        r = self.rows.here(r)
        # A row of outputs that no layer moves has a singular M: the pseudo-inverse leaves it alone.
        v = (torch.linalg.pinv(m, hermitian=True) @ r.double().unsqueeze(-1)).squeeze(-1)
        targets = [torch.einsum("ndq,nd->nq", a, v).to(r.dtype) for a in outputs_by_layers]  # u_l = A_l^T v, (n, T q)
        return [self._solution(layer, u, factors, equation) for layer, u in zip(layers, targets, strict=True)]

    def _solution(
        self, layer: AffineBlock, u: Tensor, factors: Mapping[nn.Parameter, Factor], equation: Equation
    ) -> Solution:
        """Delta_l = Phi_l^+ u_l, for u_l (n, T q) of the rows that lie here."""
        positions = self.rows.everywhere(u.reshape(-1, layer.cotangents.shape[3]))  # (n T, q)
        return solve(factors[layer.weight], self._map(layer), positions, equation.row_root)

    def _reports(self, used: Sequence[AffineBlock], solutions: Sequence[Solution]) -> tuple[LayerReport, ...]:
        """Of the layers in use what became of them, and that every other was left alone."""
        names = {p: name for name, module in self.jacobian.model.named_modules() for p in module.parameters(False)}
        ranks = on_host([s.measured_rank for s in solutions])
        solved = {
            p: LayerReport(names[layer.weight], None, rank, solution.defect, 1.0)
            for layer, rank, solution in zip(used, ranks, solutions, strict=True)
            for p in layer.parameters
        }
        reports = [solved.get(p, LayerReport(names[p], None, None, None, 0.0)) for p in self.jacobian.parameters]
        return tuple(dict.fromkeys(reports))

    def _inexact(self, rows: int) -> str:
        widest = max(self.layers, key=lambda layer: layer.map().columns / layer.positions)
        positions = f" for {widest.positions} positions of each row" if widest.positions > 1 else ""
        return (
            f"no affine layer is surjective on this batch of {rows} rows, the widest has {widest.map().columns} "
            f"features{positions}. The step is the least-squares one of all layers and not exact. Use a smaller batch "
            "or wider layers for an exact step, or right_inverse='moore-penrose', which needs no wide layers."
        )


def _suits(block: Block) -> TypeGuard[AffineBlock]:
    """Whether the block is a layer phi W^T + b with one W."""
    return isinstance(block, AffineBlock) and block.plain
