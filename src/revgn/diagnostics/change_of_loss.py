"""How much a step changes the loss."""

import math


def loss_change(before: float, after: float) -> float:
    """100 (after - before) / before, in percent: -100 where a step has brought the loss to nothing.

    Numbers, or tensors of one number, both of the same rows: the loss on the batch of the step tells what the step has
    done to that batch. A change from 0 is infinite.
    """
    change = float(after) - float(before)
    if float(before) == 0.0:
        return math.copysign(math.inf, change) if change else 0.0
    return 100.0 * change / float(before)
