"""The right inverse that needs no inverse network: r passed back by the adjoint of the layers above."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revgn.linear import Inputs, Jacobian
from revgn.linear.blocks import AffineBlock
from revgn.right_inverses.base import (
    Change,
    Equation,
    FactorOf,
    LayerReport,
    Linearized,
    RightInverse,
    on_host,
    relative_defect,
    solve,
)
from revgn.solvers import Solution
from revgn.solvers.base import ENOUGH

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

    Source: docs/theory.md, "A second exact step"; with one-sided covariance it is FOOF (Benzing 2022).
    """

    def linearize(self, model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]) -> "AdjointLinearized":
        return AdjointLinearized(Jacobian(model, inputs, parameters, compare_rows=False))


class AdjointLinearized(Linearized):
    """A module at a batch: the features of its affine layers, and the derivative of the outputs by what each gave."""

    def __init__(self, jacobian: Jacobian) -> None:
        self.jacobian = jacobian
        blocks = jacobian.blocks
        self.outputs = jacobian.outputs
        affine = [block for block in blocks if isinstance(block, AffineBlock)]
        self.layers = [block for block in affine if block.groups == 1 and not block.transposed]
        if not self.layers:
            raise ValueError(
                "the model has no layer for an adjoint step: affine, with trainable weights, without groups, and with "
                "more features than positions, such as nn.Linear on (n, features); use right_inverse='moore-penrose'"
            )

    def change(self, equation: Equation, factor: FactorOf) -> Change:
        wide = [layer for layer in self.layers if layer.map().wide]
        surjective = [layer for layer in wide if factor(layer.map(), layer.weight).surjective]
        used = surjective or self.layers
        made: dict[nn.Parameter, Tensor] = {}
        moved = torch.zeros_like(equation.r)
        first: list[Solution] = []
        for _ in range(1 + (REFINEMENTS if surjective else 0)):
            solutions = self._solve(used, equation, equation.r - moved, factor)
            step = {p: t for layer, s in zip(used, solutions, strict=True) for p, t in _by_parameter(layer, s).items()}
            made = {p: made[p] + t for p, t in step.items()} if made else step
            moved = moved + torch.stack([layer.apply(step) for layer in used]).sum(0)  # J Delta
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

    def _solve(self, used: Sequence[AffineBlock], equation: Equation, r: Tensor, factor: FactorOf) -> list[Solution]:
        """Delta_l = Phi_l^+ A_l^T v with M v = r."""
        outputs_by_layers = [layer.cotangents.flatten(2).double() for layer in used]  # A_l, (n, d_out, T q)
        m = torch.stack([a @ a.mT for a in outputs_by_layers]).sum(0)  # (n, d_out, d_out)
        # A row of outputs that no layer moves has a singular M: the pseudo-inverse leaves it alone.
        v = (torch.linalg.pinv(m, hermitian=True) @ r.double().unsqueeze(-1)).squeeze(-1)
        found: list[Solution] = []
        for layer, a in zip(used, outputs_by_layers, strict=True):
            u = torch.einsum("ndq,nd->nq", a, v).to(r.dtype)  # A_l^T v, (n, T q)
            u = u.reshape(-1, layer.cotangents.shape[3])  # (n T, q)
            found.append(solve(factor, layer.map(), layer.weight, u, equation.row_root))
        return found

    def _reports(self, used: Sequence[AffineBlock], solutions: Sequence[Solution]) -> tuple[LayerReport, ...]:
        names = {p: name for name, module in self.jacobian.model.named_modules() for p in module.parameters(False)}
        ranks = on_host([s.measured_rank for s in solutions])
        solved = {id(layer): (rank, s.defect) for layer, rank, s in zip(used, ranks, solutions, strict=True)}
        reports: list[LayerReport] = []
        for block in self.jacobian.blocks:
            rank, defect = solved.get(id(block), (None, None))
            for p in block.parameters[:1] if id(block) in solved else block.parameters:
                reports.append(LayerReport(names[p], None, rank, defect, float(id(block) in solved)))
        return tuple(dict.fromkeys(reports))

    def _inexact(self, rows: int) -> str:
        widest = max(self.layers, key=lambda layer: layer.map().columns / layer.positions)
        positions = f" for {widest.positions} positions of each row" if widest.positions > 1 else ""
        return (
            f"no affine layer is surjective on this batch of {rows} rows, the widest has {widest.map().columns} "
            f"features{positions}. The step is the least-squares one of all layers and not exact. Use a smaller batch "
            "or wider layers for an exact step, or right_inverse='moore-penrose', which needs no wide layers."
        )


def _by_parameter(layer: AffineBlock, solution: Solution) -> dict[nn.Parameter, Tensor]:
    found = {layer.weight: solution.delta.mT.reshape(layer.weight.shape)}
    if layer.bias is not None and solution.bias is not None:
        found[layer.bias] = solution.bias
    return found
