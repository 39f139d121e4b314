"""A Gram matrix that several processes form together: each some rows of its lower triangle."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from revgn.linear.features import TILE, split_rows
from revgn.linear.shards import Shard


class Strips:
    """Strips of rows of a lower triangle, dealt to the processes so that each has as many entries to form.

    The longest strip goes to the process that has the shortest of the same round.

    Args:
        shard: whose processes they are.
        rows: of the matrix, before each is repeated.

    Attributes:
        mine: the strips of this process, in order.
    """

    def __init__(self, shard: Shard, rows: int) -> None:
        self.processes = shard.processes
        count = self.processes.count
        self._all = split_rows(rows, min(TILE, math.ceil(rows / (2 * count))))
        there_and_back = (*range(count), *reversed(range(count)))
        self._owner = [there_and_back[index % len(there_and_back)] for index in range(len(self._all))]
        self.mine = self._of(self.processes.index)

    def assembled(self, parts: Sequence[Tensor], like: Tensor, repeat: int = 1) -> Tensor:
        """The whole lower triangle, in every process.

        Args:
            parts: for each strip of this process its rows up to the diagonal, (m repeat, stop repeat).
            like: any tensor of the matrix's dtype and device.
            repeat: rows of the matrix for each that was dealt.
        """
        lengths = [
            [(here.stop - here.start) * here.stop * repeat**2 for here in self._of(index)]
            for index in range(self.processes.count)
        ]
        own = torch.cat([like.new_empty(0), *(part.flatten() for part in parts)])
        gathered = self.processes.gather(own, [sum(each) for each in lengths])
        size = self._all[-1].stop * repeat
        whole = like.new_zeros(size, size)
        for index, flat in enumerate(gathered):
            for here, part in zip(self._of(index), flat.split(lengths[index]), strict=True):
                stop = here.stop * repeat
                whole[here.start * repeat : stop, :stop] = part.view(-1, stop)
        return whole

    def _of(self, index: int) -> list[slice]:
        return [here for here, owner in zip(self._all, self._owner, strict=True) if owner == index]
