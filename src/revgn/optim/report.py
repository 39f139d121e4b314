"""What a step tells about itself."""

import itertools
from dataclasses import dataclass, field

from torch import Tensor

from revgn.right_inverses.base import LayerReport


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
        gain_ratio: actual by predicted decrease of the loss; None until a control has tried the step.
        status: "exact"; "damped", where the solver damps and that is why not; "least squares" for what else is not.
        damping: lambda of the solver relative to the mean diagonal of its Gram matrix; 0 for none.
        layers: rank, defect and share of each layer; for `MoorePenrose` one entry for the whole Jacobian.
    """

    loss: float
    outputs: Tensor = field(repr=False)
    defect: float
    exact: bool
    predicted_loss: float
    gain_ratio: float | None = None
    status: str = "exact"
    damping: float = 0.0
    layers: tuple[LayerReport, ...] = field(default=(), repr=False)

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
        gained = "" if self.gain_ratio is None else f", gain ratio {self.gain_ratio:.3g}"
        damped = f", damping {self.damping:.2g}" if self.damping else ""
        lines = [
            f"{self.status}: ||J Delta - r|| / ||r|| = {self.defect:.1e} on {rows} rows, {d_out} outputs{damped}",
            f"loss {self.loss:.6g}, predicted {self.predicted_loss:.6g}{gained}",
        ]
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

    def _groups(self) -> list[list[LayerReport]]:
        """The layers by block; outside of reversible networks each by itself."""
        return self._blocks() or [[layer] for layer in self.layers]

    def _blocks(self) -> list[list[LayerReport]]:
        known = [layer for layer in self.layers if layer.block is not None]
        by_block = {index: list(group) for index, group in itertools.groupby(known, lambda layer: layer.block)}
        return [by_block.get(index, []) for index in range(1 + max((i for i in by_block if i is not None), default=-1))]
