"""Residuals that are more than outputs less targets: equations, derivatives, weights, sums over data."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from revgn.linear import Inputs, Whole
from revgn.linear.functional import call, count_rows, plain_kernels
from revgn.linear.plan import PROBED
from revgn.linear.refusals import REMEDY, close
from revgn.linear.shards import take

Residuals = Callable[[Any, Any], Tensor]
"""residuals(model, batch) -> (n, k) or (n,)."""


class ResidualModule(nn.Module):
    """The function residuals(model, batch) as a module of the model's parameters.

    Args:
        model: whose parameters they are.
        residuals: the function.
    """

    def __init__(self, model: nn.Module, residuals: Residuals) -> None:
        super().__init__()
        self.model = model
        self.residuals = residuals

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        batch = kwargs if kwargs else args[0] if len(args) == 1 else args
        found = self.residuals(self.model, batch)
        if not isinstance(found, Tensor) or found.ndim not in (1, 2):
            what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ValueError(f"residuals(model, batch) gave {what}; expected a tensor (n,) or (n, k)")
        return found.unsqueeze(1) if found.ndim == 1 else found

    def rows_are_separable(self, batch: Inputs) -> bool:
        """Whether each row of the residuals belongs to one row of the batch, and to no other: seen on some rows.

        Each of them is tried alone: the first rows of a solution in time are the same without those that come later.

        Raises:
            ValueError: the residuals are random.
        """
        with torch.no_grad(), plain_kernels(self):
            whole = call(self, Whole(batch))
            if not torch.equal(whole, call(self, Whole(batch))):
                raise ValueError(f"the residuals are random: they differ from one call to the next; {REMEDY}")
            try:
                rows = count_rows(batch)
                if not len(whole) == rows > 1:
                    return False
                # Spread over the batch and each alone: sums along it leave its first rows as they are.
                some = torch.linspace(0, rows - 1, min(PROBED, rows)).long().tolist()
                alone = [call(self, take(batch, slice(row, row + 1))) for row in some]
                return close(whole[some], torch.cat(alone))
            except (ValueError, TypeError, RuntimeError, IndexError):  # what cannot do with fewer rows
                return False
