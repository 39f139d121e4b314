"""The Moore-Penrose inverse of the whole Jacobian, by the tangent kernel: for any module."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from revgn._sizes import parse_bytes
from revgn.linear import Inputs, Jacobian, LinearMap, Weighted
from revgn.right_inverses.base import (
    Change,
    Equation,
    FactorOf,
    LayerReport,
    Linearized,
    RightInverse,
    on_host,
    relative_defect,
)
from revgn.solvers import QR, Cholesky, Solver
from revgn.solvers.cholesky import LARGE
from revgn.solvers.kernel_cg import KernelCG


@dataclass(frozen=True)
class MoorePenrose(RightInverse):
    """The least of all changes that move the outputs by r: Delta = J^+ r = J^T K^+ r with K = J J^T.

    For any module. It needs rank(J) = N = n d_out, not layers as wide as the batch, and generalises far better than the
    other right inverses at the same training loss (docs/theory.md). K is formed layer by layer (`revgn.Jacobian`),
    never J. With a loss of other curvature than the identity the step is (J^T H J)^+ J^T grad, by H^(1/2) J in place of
    J. For more outputs than parameters the same in parameter space: least squares.

    Cost beyond a forward and d_out backward passes: sum over layers of n^2 p + N^2 q, N^3 / 3, and 16 N^2 bytes. In
    float32 kernels of 4096 rows and more are solved by conjugate gradients instead of N^3 / 3, at 4 N^2 bytes; where
    K exceeds `memory`, by conjugate gradients on products with J and J^T.

    Args:
        memory: the most that K and its factor may take, in bytes or as text ("4 GB").

    Raises:
        ValueError: the memory is no size.

    Source: equation 5 of Buffelli et al. (2024); by the kernel as in minSR (Chen and Heyl 2024) and ENGD-W.
    """

    memory: int | str = "4 GB"

    def __post_init__(self) -> None:
        parse_bytes(self.memory)

    def linearize(
        self, model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]
    ) -> "MoorePenroseLinearized":
        return MoorePenroseLinearized(Jacobian(model, inputs, parameters, compare_rows=False))

    def default_solver(self, map: LinearMap) -> Solver:
        limit = parse_bytes(self.memory)
        if map.wide:
            if map.dtype == torch.float32 and map.rows >= LARGE and 4 * map.rows**2 <= limit:
                return KernelCG()
            return Cholesky() if 16 * map.rows**2 <= limit else KernelCG(held=False)
        # As many digits as J has, where J can be held; its Gram matrix has half of them.
        return QR() if 3 * map.rows * map.columns * map.dtype.itemsize <= limit else Cholesky()


class MoorePenroseLinearized(Linearized):
    """A module at a batch, by its Jacobian.

    Args:
        jacobian: of the module.
    """

    def __init__(self, jacobian: Jacobian) -> None:
        self.jacobian = jacobian
        jacobian.blocks  # noqa: B018  # one pass gives the layers and the outputs
        self.outputs = jacobian.outputs

    def change(self, equation: Equation, factor: FactorOf) -> Change:
        root = equation.root
        map = Weighted(root, self.jacobian)
        solution = factor(map, self.jacobian.parameters[0]).solve(map.weigh(equation.r))
        # Without a root what the solver measured is J Delta.
        moved = solution.moved.view_as(equation.r) if root is None else self.jacobian.apply(solution.x)
        (rank,) = on_host([solution.measured_rank])
        return Change(
            by_parameter=solution.x,
            defect=relative_defect(moved, equation.r),
            layers=(LayerReport("", None, rank, solution.defect, 1.0),),
            moved=moved,
            suspicion=(moved - equation.r).square().sum(1),
        )
