"""A batch whose rows lie in several processes: each gives what it has, and learns what the loss needs of the others."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from revgn.linear import Inputs, Processes, Shard
from revgn.linear.functional import count_rows
from revgn.linear.shards import take
from revgn.optim.batches import require_batch
from revgn.optim.wrappers import group_around


class Form(NamedTuple):
    """What has to be alike in all processes."""

    targets: tuple[torch.dtype, torch.Size]
    weights: torch.dtype | None


def processes_of(group: dist.ProcessGroup | None) -> Processes | None:
    """The processes of a group; None for one, or no group: nothing is to be shared."""
    return None if group is None or group.size() == 1 else Processes(group)


def processes_around(model: nn.Module) -> Processes | None:
    """The processes of `group_around`; None for one, or no group."""
    return processes_of(group_around(model))


def share(
    processes: Processes, inputs: Inputs, targets: Any, sample_weight: Any
) -> tuple[Shard, Tensor, Tensor | None]:
    """The batch of all processes: inputs stay where they are, targets and weights go everywhere.

    Args:
        processes: all of them.
        inputs: of the rows that lie here; there may be none.
        targets: likewise.
        sample_weight: likewise, in all processes or in none.

    Raises:
        ValueError, TypeError: the batch is none, in one process or in all; no process has rows; targets or weights
            of the processes do not fit each other.
    """
    with processes.together():
        targets = require_batch(inputs, targets, least=0)
        rows = count_rows(inputs, least=0)
        _require_by_row("targets", targets, rows)
        if sample_weight is not None:
            _require_by_row("sample_weight", sample_weight, rows)
        form = Form((targets.dtype, targets.shape[1:]), None if sample_weight is None else sample_weight.dtype)
    told = processes.objects((rows, form))
    counts = [count for count, _ in told]
    if not sum(counts):
        raise ValueError(f"an empty batch: 0 rows in each of {processes.count} processes; expected at least one")
    different = next((index for index, (_, other) in enumerate(told) if other != told[0][1]), None)
    if different is not None:
        raise ValueError(
            f"targets and sample_weight (dtype, shape of a row) are {_say(told[0][1])} in process 0, and "
            f"{_say(told[different][1])} in process {different}; expected the same in all"
        )
    owner = torch.arange(processes.count, device=targets.device).repeat_interleave(
        torch.tensor(counts, device=targets.device)
    )
    if 0 in counts:
        inputs = _borrowed(processes, inputs, counts, targets.device)
    shard = Shard(inputs, owner, processes)
    weights = None if sample_weight is None else torch.cat(processes.gather(sample_weight, counts))
    return shard, torch.cat(processes.gather(targets, counts)), weights


def _borrowed(processes: Processes, inputs: Inputs, counts: list[int], device: torch.device) -> Inputs:
    """The inputs; where there are none, a row of the first process that has some."""
    lender = next(index for index, count in enumerate(counts) if count)
    lent = take(inputs, slice(0, 1)) if processes.index == lender else None
    row = processes.objects(tree_map(lambda leaf: leaf.cpu() if isinstance(leaf, Tensor) else leaf, lent))[lender]
    if counts[processes.index]:
        return inputs
    return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, row)


def require_same_parameters(processes: Processes, parameters: Iterable[Tensor]) -> None:
    """Raise ValueError unless all processes hold the same parameters, as far as their sums tell."""
    first, *others = processes.objects([float(p.detach().sum(dtype=torch.float64)).hex() for p in parameters])
    for index, other in enumerate(others, start=1):
        if other != first:
            raise ValueError(
                f"the parameters of processes 0 and {index} differ; expected the same model in all: make it from the "
                "same seed, load the same checkpoint, or wrap it in DistributedDataParallel"
            )


def _require_by_row(name: str, given: Any, rows: int) -> None:
    if not isinstance(given, Tensor):
        raise TypeError(f"{name} of type {type(given).__name__}; expected a tensor: torch.as_tensor({name})")
    if not given.ndim or len(given) != rows:
        raise ValueError(f"{name} of shape {tuple(given.shape)} for {rows} rows of inputs; expected one for each row")


def _say(form: Form) -> str:
    (dtype, shape), weights = form
    return f"{dtype} {tuple(shape)}, {'no weights' if weights is None else weights}"
