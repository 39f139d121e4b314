"""Levenberg-Marquardt for any module and any residuals."""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch.distributed as dist
from torch import Tensor, nn

from revgn.control import Control, Ridge, TrustRegion
from revgn.control.ridge import RULES
from revgn.linear import Inputs, Processes, Whole
from revgn.losses import GaussNewtonLoss, MSELoss
from revgn.naming import unknown_name
from revgn.optim.gauss_newton import GaussNewton
from revgn.optim.linearization import Linearization
from revgn.optim.residuals import ResidualModule, Residuals
from revgn.optim.sharing import processes_around
from revgn.right_inverses import MoorePenrose
from revgn.solvers import Solver

SCALINGS = {None: None, "marquardt": True, "identity": False}


class LevenbergMarquardt(GaussNewton):
    """Damped Gauss-Newton steps, each tried, and kept only if the loss falls: for any module and any residuals.

        optimizer = LevenbergMarquardt(model)                       # squared error
        for _ in range(100):
            report = optimizer.step(inputs, targets)

    `GaussNewton` with the right inverse `MoorePenrose` and the control `TrustRegion`. The equation is solved where it
    is smallest, and `Report.route` says where: in sample space (the tangent kernel, for more parameters than outputs),
    in parameter space (QR of J with its columns scaled, so that the fit does not depend on the parameters' units; the
    normal equations where J exceeds the memory), or by conjugate gradients where the kernel exceeds it.
    `revgn.fit` runs it to a named ending.

    In float32 the loss of zero-residual problems ends near 1e-12 of where it began, in float64 near 1e-30.

    Parameters with bounds: register a parametrization (softplus, sigmoid) with `torch.nn.utils.parametrize`.

    Args:
        model: any module.
        loss: as in `GaussNewton`; None: `MSELoss()`.
        residuals: residuals(model, batch) -> (n, k) or (n,), in place of outputs less targets: then `step(batch)` takes
            no targets, and the batch may be anything. Rows of residuals that each belong to one row of the batch (seen
            on 8 of them) are differentiated row by row; others, such as solutions of a differential equation, as a
            whole. Derivatives by inputs are fastest by `torch.func`.
        damping: lambda of the first step relative to the mean diagonal of the Gram matrix; None: as in
            `revgn.control.TrustRegion`. "gcv" or "evidence": ridge regression at every step with lambda chosen by that
            rule, see `revgn.control.Ridge`.
        control: another control than these; None: `TrustRegion(damping)`, or `Ridge(damping)`.
        scaling: "marquardt": parameters measured by how much they move the outputs, by the dense J; "identity": as they
            are; None: "marquardt" where there are fewer parameters than outputs and J fits the memory.
        geodesic: whether to follow the outputs' curvature by one more solve with the same factor and one more forward
            pass: up to ten times fewer steps along curved valleys; None: where there are fewer parameters than outputs.
        solver: of the equation; None: by sizes and memory.
        memory: the most that the kernel and its factor may take, in bytes or as text ("1 GB", the default).
        params: a part of the model's parameters; None: all that are trainable.
        group: as of `GaussNewton`; not with `residuals`.

    Raises:
        TypeError, ValueError: as `GaussNewton`; unknown names; damping and control both given.

    Source: Levenberg (1944), Marquardt (1963), Moré (1978), Nielsen (1999); in sample space as in docs/theory.md;
    geodesic acceleration by Transtrum and Sethna (2012).
    """

    _OWN: ClassVar[tuple[str, ...]] = (*GaussNewton._OWN, "residuals", "_module", "_separable")

    def __init__(
        self,
        model: nn.Module,
        loss: GaussNewtonLoss | nn.Module | None = None,
        *,
        residuals: Residuals | None = None,
        damping: float | Literal["gcv", "evidence"] | None = None,
        control: Control | None = None,
        scaling: Literal["marquardt", "identity"] | None = None,
        geodesic: bool | None = None,
        solver: Solver | None = None,
        memory: int | str = "1 GB",
        params: Iterable[Any] | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if scaling not in SCALINGS:
            raise ValueError(unknown_name("scaling", str(scaling), [s for s in SCALINGS if s]))
        if damping is not None and control is not None:
            raise ValueError(f"damping={damping!r} and control={control!r}; expected one of them: the control damps")
        if isinstance(damping, str) and damping not in RULES:
            raise ValueError(unknown_name("damping", damping, RULES))
        if control is None:
            control = Ridge(damping) if isinstance(damping, str) else TrustRegion(damping)
        if isinstance(control, Ridge):  # a penalty of the parameters as they are
            if scaling == "marquardt":
                raise ValueError("scaling='marquardt' with a ridge, which shrinks parameters as they are; leave it out")
            scaling = "identity"
        super().__init__(
            model,
            MSELoss() if loss is None else loss,
            right_inverse=MoorePenrose(memory=memory, scaled=SCALINGS[scaling]),
            solver=solver,
            control=control,
            params=params,
            group=group,
        )
        if residuals is not None:
            _require_alone(self.processes)
        self.residuals = residuals
        self.geodesic = geodesic
        self._module = self.model if residuals is None else ResidualModule(self.model, residuals)
        self._separable: bool | None = None

    def _linearize(self, inputs: Inputs, targets: Tensor | None, sample_weight: Tensor | None) -> Linearization:
        if self.residuals is None:
            return super()._linearize(inputs, targets, sample_weight)
        if targets is not None:
            raise ValueError("targets given beside residuals; expected step(batch) with the targets in the batch")
        _require_alone(processes_around(self.model))
        return self._linearization_of(inputs, None, sample_weight)

    def called(self, inputs: Inputs) -> tuple[nn.Module, Inputs]:
        if not isinstance(self._module, ResidualModule):
            return self._module, inputs
        if self._separable is None:
            self._separable = self._module.rows_are_separable(inputs)
        return self._module, inputs if self._separable else Whole(inputs)


def _require_alone(processes: Processes | None) -> None:
    if processes is not None:
        raise ValueError("residuals with a group of processes; expected a loss, whose rows are known to be apart")
