"""Where the rows of a batch lie: all of them here, or some here and the others in other processes."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from revgn.linear.processes import Processes


class Rows:
    """A batch of which all rows lie in this process.

    Args:
        local: what the module is called with here.
    """

    def __init__(self, local: Any) -> None:
        self.local = local

    def here(self, tensor: Tensor) -> Tensor:
        """Of a tensor with one row, or several, for each of the batch those of the rows that lie here."""
        return tensor

    def everywhere(self, tensor: Tensor) -> Tensor:
        """The rows of all processes, in the order of the batch, given those of the rows that lie here."""
        return tensor

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over processes of what each makes of its rows."""
        return tensor

    def together(self) -> AbstractContextManager[None]:
        """What fails inside in one process fails in all."""
        return nullcontext()


class Shard(Rows):
    """A batch whose rows lie in several processes.

    A process without rows works on a borrowed one, of which nothing is passed on: modules need not know that there are
    empty batches.

    Args:
        local: what the module is called with here: the rows that lie here in the order of the batch, or a borrowed one.
        owner: the process in which each row of the batch lies, (n,).
        processes: all of them.

    Attributes:
        count: n, of all rows.
    """

    def __init__(self, local: Any, owner: Tensor, processes: Processes) -> None:
        super().__init__(local)
        self.owner, self.processes, self.count = owner, processes, len(owner)
        self._places = [(owner == index).nonzero().flatten() for index in range(processes.count)]

    @property
    def _own(self) -> Tensor:
        """Which rows of the batch lie here."""
        return self._places[self.processes.index]

    def here(self, tensor: Tensor) -> Tensor:
        by_row = tensor.unflatten(0, (self.count, -1))
        if not len(self._own):
            return torch.zeros_like(by_row[0])  # for the borrowed row
        return by_row[self._own].flatten(0, 1)

    def everywhere(self, tensor: Tensor) -> Tensor:
        own = len(self._own)
        by_row = tensor.unflatten(0, (max(1, own), -1))[:own]
        return self._in_order(self.processes.gather(by_row, [len(places) for places in self._places])).flatten(0, 1)

    def _in_order(self, parts: Sequence[Tensor]) -> Tensor:
        """The rows of the batch, given those of each process."""
        whole = parts[0].new_empty(self.count, *parts[0].shape[1:])
        for places, part in zip(self._places, parts, strict=True):
            whole[places] = part
        return whole

    def columns(self, matrix: Tensor) -> Tensor:
        """All rows of some columns, as many in each process, given all columns of the rows that lie here."""
        own = len(self._own)
        by_row = matrix.unflatten(0, (max(1, own), -1))[:own]
        parts = by_row.tensor_split(self.processes.count, dim=-1)
        like = parts[self.processes.index].shape[1:]
        found = self.processes.exchange(parts, [torch.Size((len(places), *like)) for places in self._places])
        return self._in_order(found).flatten(0, 1)

    def all_columns(self, part: Tensor, columns: int) -> Tensor:
        """The whole of a matrix (m, columns), given the columns of this process, as `columns` deals them."""
        counts = [len(each) for each in torch.arange(columns).tensor_split(self.processes.count)]
        return torch.cat([each.mT for each in self.processes.gather(part.mT, counts)], dim=1)

    def total(self, tensor: Tensor) -> Tensor:
        return self.processes.total(tensor if len(self._own) else torch.zeros_like(tensor))

    def together(self) -> AbstractContextManager[None]:
        return self.processes.together()

    def rows_for(self, local: int) -> int:
        """Of a matrix with so many rows here, how many it has in all: as many for each row of the batch."""
        return local // max(1, len(self._own)) * self.count

    def largest(self, number: float) -> float:
        """The largest of a number of each process; NaN where one is NaN."""
        own = torch.tensor([number], dtype=torch.float64, device=self.owner.device)
        return float(torch.cat(self.processes.gather(own, [1] * self.processes.count)).amax())

    def take(self, rows: "Tensor | slice") -> "Shard":
        """Some rows of the batch, wherever they lie."""
        return Shard(take(self.local, self.places_here(rows)), self.owner[rows], self.processes)

    def places_here(self, rows: "Tensor | slice") -> Tensor:
        """Of some rows of the batch those that lie here, by their places in `local`; without any that of one row."""
        place = torch.zeros_like(self.owner)
        place[self._own] = torch.arange(len(self._own), device=place.device)
        found = place[rows][self.owner[rows] == self.processes.index]
        return found if len(found) else place.new_zeros(1)

    def followed_by(self, other: "Shard") -> "Shard":
        """The rows of this batch, and then those of another."""
        owner = torch.cat((self.owner, other.owner))
        if not len(other._own):
            return Shard(self.local, owner, self.processes)
        if not len(self._own):
            return Shard(other.local, owner, self.processes)
        return Shard(joined_rows(self.local, other.local), owner, self.processes)

    def mapped(self, change: Callable[[Any], Any]) -> "Shard":
        """The batch with something done to the rows of each process."""
        return Shard(change(self.local), self.owner, self.processes)


def rows_of(inputs: Any) -> Rows:
    """The batch with where its rows lie: here, if nothing else is said."""
    return inputs if isinstance(inputs, Rows) else Rows(inputs)


def take(inputs: Any, rows: "Tensor | slice") -> Any:
    """Some rows of a batch."""
    if isinstance(inputs, Shard):
        return inputs.take(rows)
    return tree_map(lambda leaf: leaf[rows] if isinstance(leaf, Tensor) else leaf, inputs)


def joined_rows(first: Any, second: Any) -> Any:
    """The rows of two batches of the same form, one after the other."""
    if isinstance(first, Shard):
        return first.followed_by(second)
    return tree_map(lambda a, b: torch.cat((a, b)) if isinstance(a, Tensor) else a, first, second)
