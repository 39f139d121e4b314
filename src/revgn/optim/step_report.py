"""What a step tells about itself."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from revgn.control import Attempt
from revgn.optim.linearization import Candidate, Linearization
from revgn.optim.trial import OptimizerTrial
from revgn.right_inverses.right_inverse import LayerReport
from revgn.solvers import Solver
from revgn.solvers.solver import EXACT


@dataclass(frozen=True, eq=False)
class Report:
    """The record of one call of `backward`.

    Attributes:
        loss: before the step.
        outputs: F before the step, (n, d_out).
        defect: ||J Delta - r|| / ||r|| of the change that is applied: the larger of what a JVP through the model's own
            forward pass measures (on all rows up to 64, beyond on 24 of them) and of what the layers left of their
            targets on all rows.
        exact: whether J Delta = r: the defect is at most 1e-3 in float32, which is what one Newton step may leave
            over, or 1e-11 in float64.
        predicted_loss: the loss that the step reaches if the outputs move as J says, at the learning rates of the
            parameter groups; from J Delta of all rows where it is known, else of the rows that were certified.
            Momentum and weight decay are left aside.
        new_loss: after the step, on the same batch; None from `backward`, which takes none.
        gain_ratio: actual by predicted decrease of the loss; None from `backward`, and where the loss is not finite.
        status: "exact"; "damped", where damping is why it is not; "least squares" for what else is not. From
            `step(inputs, targets)` also "rejected" for a step that was taken back as the loss did not fall, and
            "not finite" for one taken back as the loss was not.
        length: the multiple of the optimizer's own step that was taken, or tried first where none stands; 1 for all.
        attempts: how many steps were tried.
        damping: lambda relative to the mean diagonal of the Gram matrix; 0 for none.
        ridge: lambda of the penalty that `control.Ridge` has chosen; None for other controls.
        effective_parameters: sum w / (w + lambda) over the eigenvalues of K, for the same.
        seconds: by phase: "linearize" (forward pass, layers' derivatives), "solve" (Gram matrix, its factor, the change
            and its certificate), "try" (the steps, and the forward passes that judge them); empty from `backward`.
        route: in which space which matrix was solved by which solver; empty for layer-wise right inverses.
        layers: rank, defect and share of each layer; for `MoorePenrose` one entry for the whole Jacobian.
    """

    loss: float
    outputs: Tensor = field(repr=False)
    defect: float
    exact: bool
    predicted_loss: float
    new_loss: float | None = None
    gain_ratio: float | None = None
    status: str = "exact"
    length: float = 1.0
    attempts: int = 0
    damping: float = 0.0
    ridge: float | None = None
    effective_parameters: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict, repr=False)
    route: str = ""
    layers: tuple[LayerReport, ...] = field(default=(), repr=False)

    @property
    def accepted(self) -> bool:
        """Whether the step stands."""
        return self.status not in ("rejected", "not finite")

    def judged(self, trial: OptimizerTrial, accepted: Attempt | None, memory: Mapping[str, Any]) -> "Report":
        """The report of a step that a control has tried."""
        # Of a step that was taken back the first attempt, the least damped, says most.
        attempt = trial.tried[0] if accepted is None else accepted
        status = self.status
        if accepted is None:
            status = "rejected" if any(each.finite for each in trial.tried) else "not finite"
        return replace(
            self,
            predicted_loss=attempt.predicted_loss,
            new_loss=attempt.loss,
            gain_ratio=attempt.gain_ratio if attempt.finite else None,
            status=status,
            length=attempt.length,
            attempts=trial.attempts,
            ridge=memory.get("ridge"),
            effective_parameters=memory.get("effective_parameters"),
            seconds=trial.clock.seconds,
        )

    @property
    def block_weights(self) -> tuple[float, ...]:
        """The share c_l of each reversible block; empty for other right inverses."""
        return tuple(group[0].weight if group else 0.0 for group in self._blocks())

    @property
    def ranks(self) -> tuple[tuple[int | None, ...] | None, ...]:
        """Measured ranks by block, (f, g) in reversible ones; None for blocks that were not solved."""
        return tuple(
            None if not group or group[0].defect is None else tuple(layer.rank for layer in group)
            for group in self._groups()
        )

    @property
    def defects(self) -> tuple[tuple[float, ...] | None, ...]:
        """Defects by block, as `ranks`."""
        return tuple(
            None
            if not group or group[0].defect is None
            else tuple(layer.defect for layer in group if layer.defect is not None)
            for group in self._groups()
        )

    def __str__(self) -> str:
        rows, d_out = self.outputs.shape
        damped = f", damping {self.damping:.2g}" if self.damping else ""
        lines = [
            f"{self.status}: ||J Delta - r|| / ||r|| = {self.defect:.1e} on {rows} rows, {d_out} outputs{damped}",
            f"loss {self.loss:.6g}, predicted {self.predicted_loss:.6g}{self._tried()}",
        ]
        lines += [self.route] if self.route else []
        if self.ridge is not None:
            lines.append(f"ridge {self.ridge:.3g}, {self.effective_parameters:.1f} effective parameters")
        width = max((len(layer.name) for layer in self.layers), default=0)
        for layer in self.layers:
            if layer.defect is None:
                lines.append(f"  {layer.name or 'Jacobian':{width}}  left alone")
                continue
            rank = "" if layer.rank is None else f"rank {layer.rank}, "
            lines.append(
                f"  {layer.name or 'Jacobian':{width}}  {rank}defect {layer.defect:.1e}, weight {layer.weight:.3g}"
            )
        return "\n".join(lines)

    def _tried(self) -> str:
        if self.new_loss is None:
            return ""
        ratio = "" if self.gain_ratio is None else f", gain ratio {self.gain_ratio:.3g}"
        length = "" if self.length == 1.0 else f", length {self.length:g}"
        times = "" if self.attempts == 1 else f", {self.attempts} attempts"
        return f", reached {self.new_loss:.6g}{ratio}{length}{times}"

    def _groups(self) -> list[list[LayerReport]]:
        """The layers by block; outside of reversible networks each by itself."""
        return self._blocks() or [[layer] for layer in self.layers]

    def _blocks(self) -> list[list[LayerReport]]:
        known = [layer for layer in self.layers if layer.block is not None]
        by_block = {index: list(group) for index, group in itertools.groupby(known, lambda layer: layer.block)}
        return [by_block.get(index, []) for index in range(1 + max((i for i in by_block if i is not None), default=-1))]


def make_report(
    linearization: Linearization, candidate: Candidate, solver: Solver | None, predicted_loss: float = math.nan
) -> Report:
    """The report of a change that has been made and certified, and not yet tried."""
    own = float(getattr(solver, "damping", 0.0))
    damping = own if candidate.damping is None else candidate.damping
    exact = candidate.defect <= EXACT[linearization.outputs.dtype]
    return Report(
        loss=linearization.value,
        outputs=linearization.outputs,
        defect=candidate.defect,
        exact=exact,
        predicted_loss=predicted_loss,
        status="exact" if exact else "damped" if damping else "least squares",
        damping=damping,
        route=candidate.change.route,
        layers=candidate.change.layers,
    )
