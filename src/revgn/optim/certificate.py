"""The certificate of a step: J Delta - r itself, through the model's own forward pass."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revgn.linear.functional import Change, Inputs, jvp
from revgn.linear.refusals import jittered, refuse_difference
from revgn.linear.shards import joined_rows, take
from revgn.right_inverses.right_inverse import relative_defect

# Rows on which larger batches are certified: with those that are looked at twice 32. Of 1024 rows that is a thirtieth
# of a JVP, some 4 % of a step.
ROWS = 24
# Up to so many rows all are.
ALL = 64
# Rows that are looked at twice in single precision, the second time with their inputs' last bits changed: where that
# changes J Delta, the measured J Delta is rounding, and its agreement with r says little.
JITTERED = 8
# Rounding happens in every layer, not at the inputs alone.
MARGIN = 4.0


@dataclass(frozen=True, eq=False)
class Certificate:
    """What a step was seen to do.

    Attributes:
        rows: indices of the rows that were looked at, (m,): first the suspected ones, then those drawn evenly.
        suspected: how many of them are not drawn evenly.
        moved: J Delta on these rows, (m, d_out).
        defect: ||J Delta - r|| / ||r||, over all rows where all were looked at, else estimated.
        complete: whether all rows were looked at.
    """

    rows: Tensor
    suspected: int
    moved: Tensor
    defect: float
    complete: bool


def certify(
    model: nn.Module,
    inputs: Inputs,
    outputs: Tensor,
    r: Tensor,
    change: Change,
    suspicion: Tensor | None,
    *,
    interact: bool = False,
) -> Certificate:
    """Measure what a change does to the outputs, by one JVP on some rows, which do not interact.

    For batches of more than 64 rows 24 are looked at: the 12 that whoever made the change suspects most, for errors
    may sit in few rows, and 12 spread evenly over the batch, which stand for all others. Where rows interact all are.

    Raises:
        ValueError: the model gives these rows other outputs alone than within the batch: it is random, or its rows
            depend on each other.
    """
    n = len(r)
    if interact:
        moved = jvp(model, inputs, change)[1]
        return Certificate(torch.arange(n, device=r.device), 0, moved, relative_defect(moved, r), complete=True)
    rows, suspected = _chosen(n, suspicion, r.device)
    looked_at = take(inputs, rows)
    twice = looked_at
    if r.dtype == torch.float32:
        shaken_rows = jittered(take(looked_at, slice(0, JITTERED)))
        twice = joined_rows(looked_at, shaken_rows)
    again, moved = jvp(model, twice, change)
    alone = again[: len(rows)]
    blown_up = refuse_difference(model, looked_at, outputs[rows], alone)
    moved, shaken = moved[: len(rows)], moved[len(rows) :]
    errors = (moved - r[rows]).double().square().sum(1)
    if blown_up:  # what rounding has made of the outputs it has made of r as well
        errors += (outputs[rows] - alone).double().square().sum(1)
    if len(shaken):
        # Rounding of the forward pass itself: as large in these rows as in the others.
        rounding = (shaken - moved[: len(shaken)]).double().square().sum(1)
        errors += MARGIN**2 * rounding.mean()
    # Those drawn evenly stand for all that are not suspected.
    others = errors[suspected:].sum() * ((n - suspected) / (len(rows) - suspected))
    left = (errors[:suspected].sum() + others).sqrt()
    scale = torch.linalg.vector_norm(r, dtype=torch.float64)
    return Certificate(rows, suspected, moved, float(left / torch.where(scale == 0, 1.0, scale)), len(rows) == n)


def _chosen(n: int, suspicion: Tensor | None, device: torch.device) -> tuple[Tensor, int]:
    if n <= ALL:
        return torch.arange(n, device=device), 0
    if suspicion is None:
        return torch.linspace(0, n - 1, ROWS, device=device).long(), 0
    worst = suspicion.topk(ROWS // 2).indices
    others = torch.ones(n, dtype=torch.bool, device=device)
    others[worst] = False
    left = torch.arange(n, device=device)[others] if device.type == "cpu" else others.nonzero().flatten()
    even = left[torch.linspace(0, len(left) - 1, ROWS - len(worst), device=device).long()]
    return torch.cat((worst, even)), len(worst)
