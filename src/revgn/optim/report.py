"""What a step tells about itself."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Report:
    """The record of one call of `backward`.

    Attributes:
        loss: before the step.
        outputs: F before the step, (n, d_out).
        defect: relative error ||u - Phi Delta|| / ||u|| of the applied step, that of the worst half-coupling in use,
            measured with random probes.
        exact: whether J Delta = r: the defect is at most 1e-3 in float32, which is what one Newton step may leave
            over, or 1e-11 in float64, and the block weights sum to one.
        block_weights: c_l for each block.
        ranks: numerical ranks (f, g) of each block's features; None for blocks that were not solved.
        defects: defects (f, g) of each block; None likewise.
        predicted_loss: the loss after `step` if the outputs moved linearly and the step were exact; momentum and
            weight decay left aside.
    """

    loss: float
    outputs: Tensor = field(repr=False)
    defect: float
    exact: bool
    predicted_loss: float
    block_weights: tuple[float, ...] = ()
    ranks: tuple[tuple[int, ...] | None, ...] = ()
    defects: tuple[tuple[float, ...] | None, ...] = ()
