"""The Moore-Penrose inverse of the whole Jacobian, by the tangent kernel: for any module."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revgn._sizes import parse_bytes
from revgn.linear import Inputs, Jacobian, LinearMap, ScaledColumns, Weighted, Whole, jacobian_of
from revgn.right_inverses.right_inverse import (
    Change,
    Equation,
    FactorOf,
    LayerReport,
    Linearized,
    RightInverse,
    on_host,
    relative_defect,
)
from revgn.solvers import QR, Cholesky, Factor, Solver
from revgn.solvers.cholesky import LARGE
from revgn.solvers.eigenvalues import EighFactor
from revgn.solvers.kernel_cg import KernelCG
from revgn.solvers.solver import State


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
        scaled: whether parameters are measured in units in which all move the outputs alike (Marquardt's scaling), so
            that damping and least norm do not depend on the units they came in; by the dense J, for few parameters.
            None: where there are fewer parameters than outputs, and J fits the memory.

    Raises:
        ValueError: the memory is no size.

    Source: equation 5 of Buffelli et al. (2024); by the kernel as in minSR (Chen and Heyl 2024) and ENGD-W.
    """

    memory: int | str = "4 GB"
    scaled: bool | None = False

    def __post_init__(self) -> None:
        parse_bytes(self.memory)

    def linearize(
        self, model: nn.Module, inputs: Inputs, parameters: Sequence[nn.Parameter]
    ) -> "MoorePenroseLinearized":
        return MoorePenroseLinearized(jacobian_of(model, inputs, parameters), self)

    def default_solver(self, map: LinearMap) -> Solver:
        limit = parse_bytes(self.memory)
        if map.wide:
            if map.dtype == torch.float32 and map.rows >= LARGE and 4 * map.rows**2 <= limit:
                return KernelCG()
            return Cholesky() if 16 * map.rows**2 <= limit else KernelCG(held=False)
        # As many digits as J has, where J can be held; its Gram matrix has half of them.
        return QR() if self.holds_dense(map) else Cholesky()

    def holds_dense(self, map: LinearMap) -> bool:
        """Whether the map itself and two copies fit the memory."""
        return 3 * map.rows * map.columns * map.dtype.itemsize <= parse_bytes(self.memory)


class MoorePenroseLinearized(Linearized):
    """A module at a batch, by its Jacobian.

    Args:
        jacobian: of the module.
        options: the right inverse.
    """

    def __init__(self, jacobian: Jacobian, options: MoorePenrose) -> None:
        self.jacobian = jacobian
        self.options = options
        self.rows_interact = isinstance(jacobian.inputs, Whole)
        jacobian.blocks  # noqa: B018  # one pass gives the layers and the outputs
        self.outputs = jacobian.outputs
        self._memory: State = {}
        self._map: LinearMap | None = None  # its columns are scaled once, whatever dampings are tried

    def remember(self, memory: Callable[[nn.Parameter], State]) -> None:
        if self.options.scaled is not False:
            self._memory = memory(self.jacobian.parameters[0])

    def change(self, equation: Equation, factor: FactorOf) -> Change:
        weighted = Weighted(equation.root, self.jacobian)
        made = self._factor(weighted, factor)
        solution = made.solve(self._target(weighted, equation))
        x = solution.map.unscaled(solution.x) if isinstance(solution.map, ScaledColumns) else solution.x
        if equation.shrink:
            x = weighted.add(self._theta(), x)
        # Without a root what the solver measured is J Delta.
        known = equation.root is None and not equation.shrink
        moved = solution.moved.view_as(equation.r) if known else self.jacobian.apply(x)
        (rank,) = on_host([solution.measured_rank])
        return Change(
            by_parameter=x,
            defect=relative_defect(moved, equation.r),
            layers=(LayerReport("", None, rank, solution.defect, 1.0),),
            moved=moved,
            suspicion=(moved - equation.r).square().sum(1),
            route=_route(made),
        )

    def spectrum(self, equation: Equation, factor: FactorOf) -> tuple[Tensor, Tensor]:
        """Eigenvalues w (N,) of the weighted J J^T, and the squares of r - J theta in its eigenvectors, (N,)."""
        weighted = Weighted(equation.root, self.jacobian)
        made = self._factor(weighted, factor)
        if not isinstance(made, EighFactor):
            raise TypeError(f"{type(made.solver).__name__} has no eigenvalues of the kernel; use solver=Eigh()")
        target = self._target(weighted, dataclasses.replace(equation, shrink=True)).double()
        w = made.w.clamp_min(0.0)
        if weighted.wide:
            return w, (made.q.mT @ target).square().squeeze(1)
        # The eigenvectors of J J^T for these eigenvalues are J V / sqrt(w); for all others the eigenvalue is zero.
        pulled = made.q.mT @ weighted.stack(weighted.adjoint(target.to(weighted.dtype))).double()
        squares = torch.where(made.kept, pulled.squeeze(1).square() / w, 0.0)
        others = len(target) - len(w)
        left = (target.square().sum() - squares.sum()).clamp_min(0.0) / max(1, others)
        return torch.cat((w, w.new_zeros(others))), torch.cat((squares, left.expand(others)))

    def _factor(self, weighted: Weighted, factor: FactorOf) -> Factor:
        if self._map is None:
            scaled = self.options.scaled
            if scaled is None:
                scaled = not weighted.wide and self.options.holds_dense(weighted)
            self._map = weighted
            if scaled:
                self._map = ScaledColumns(weighted, self._memory.get("column_norms"))
                self._memory["column_norms"] = self._map.norms
        return factor(self._map, self.jacobian.parameters[0])

    def _target(self, weighted: Weighted, equation: Equation) -> Tensor:
        target = weighted.weigh(equation.r)
        return target - weighted.apply(self._theta()) if equation.shrink else target

    def _theta(self) -> dict[nn.Parameter, Tensor]:
        return {p: p.detach() for p in self.jacobian.parameters}


def _route(made: Factor) -> str:
    """Where and how the equation was solved, in words."""
    map, by = made.map, type(made.solver).__name__
    if map.wide:
        return f"sample space, K of {map.rows} x {map.rows} by {by}"
    scaled = ", columns scaled" if isinstance(map, ScaledColumns) else ""
    return f"parameter space, {map.columns} parameters by {by}{scaled}"
