"""What the processes of a group tell each other: parts gathered, exchanged and summed up, and that one has failed."""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

_Kind = TypeVar("_Kind")
# Errors that are raised again under their own name in the processes that have not met them.
_KNOWN = (ValueError, TypeError, FloatingPointError, MemoryError, RuntimeError)


class Unreachable(RuntimeError):
    """A process has died, or does not answer within the group's time-out."""


class Processes:
    """A process group in which every process takes the same steps, each with rows of its own.

    All methods are collective: every process of the group has to call them, in the same order.

    Args:
        group: of `torch.distributed`.

    Attributes:
        count: of processes.
        index: of this one, from 0.
        traffic: bytes that this process was sent so far, by operation: "all_gather" and "all_to_all" count the parts of
            the others, "all_reduce" the tensor that is summed up, whatever way the backend takes.

    Raises:
        Unreachable: by every method.
    """

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group
        self.count, self.index = group.size(), group.rank()
        self.traffic: Counter[str] = Counter()

    def gather(self, part: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """The parts of all processes, in order, of so many rows each."""
        # Of equal length, as collectives want them: shorter ones are filled up with what is cut off again.
        most = max(counts)
        padded = part.contiguous()
        if len(part) < most:
            last = part[-1:] if len(part) else part.new_zeros(1, *part.shape[1:])
            padded = torch.cat((part, last.expand(most - len(part), *part.shape[1:])))
        parts = [torch.empty_like(padded) for _ in counts]
        self._call(lambda: dist.all_gather(parts, padded, group=self.group))
        self.traffic["all_gather"] += (self.count - 1) * padded.nbytes
        return [whole[:count] for whole, count in zip(parts, counts, strict=True)]

    def exchange(self, parts: Sequence[Tensor], shapes: Sequence[torch.Size]) -> list[Tensor]:
        """What each process has for this one, of these shapes, for what this one has for each."""
        sent = torch.cat([part.flatten() for part in parts])
        lengths = [shape.numel() for shape in shapes]
        # Zeros rather than what lies in memory, which tests by groups without other processes would take for numbers.
        found = sent.new_zeros(sum(lengths))
        self._call(
            lambda: dist.all_to_all_single(found, sent, lengths, [part.numel() for part in parts], group=self.group)
        )
        self.traffic["all_to_all"] += (len(found) - lengths[self.index]) * found.itemsize
        return [flat.view(shape) for flat, shape in zip(found.split(lengths), shapes, strict=True)]

    def objects(self, own: _Kind) -> list[_Kind]:
        """What each process has to say, in order; pickled on the way."""
        found: list[Any] = [None] * self.count
        self._call(lambda: dist.all_gather_object(found, own, group=self.group))
        return found

    def total(self, part: Tensor) -> Tensor:
        """The sum over processes, to the bit the same in each."""
        part = part.contiguous()
        self._call(lambda: dist.all_reduce(part, group=self.group))
        self.traffic["all_reduce"] += part.nbytes
        return part

    @contextmanager
    def together(self) -> Generator[None]:
        """What fails inside in one process fails in all, with the same words."""
        failure = None
        try:
            yield
        except Unreachable:
            raise  # nobody is left to be told
        except Exception as error:  # told to the others, and raised again below
            failure = error
        # One number in the usual case; the words are only fetched where there are some.
        flag = torch.tensor([int(failure is not None)], device=self._device())
        if int(self.total(flag)):
            self._fail(failure)

    def _fail(self, failure: Exception | None) -> NoReturn:
        told = self.objects(None if failure is None else (_name(failure), str(failure)))
        index, (kind, message) = next((i, each) for i, each in enumerate(told) if each is not None)
        known = next(each for each in _KNOWN if each.__name__ == kind)
        raise known(f"process {index} of {self.count}: {message}") from failure

    def _call(self, collective: Callable[[], Any]) -> None:
        try:
            collective()
        except RuntimeError as error:  # dist.DistError among them
            raise Unreachable(
                f"process {self.index} of {self.count} cannot reach the others: one has died, or has not answered "
                "within the time-out that torch.distributed.init_process_group was given; nothing of this step was "
                f"applied, start all again from the last checkpoint ({str(error).splitlines()[0]})"
            ) from error

    def _device(self) -> torch.device:
        """Where small tensors of this group have to lie."""
        return torch.device("cuda") if dist.get_backend(self.group) == "nccl" else torch.device("cpu")

    def __deepcopy__(self, memo: Any) -> "Processes":
        return self  # a copy of an optimizer takes its steps with the same processes

    def __reduce__(self) -> NoReturn:
        raise TypeError("a process group cannot be pickled, so neither can an optimizer of one; save its state_dict()")


def _name(failure: Exception) -> str:
    return next((kind.__name__ for kind in _KNOWN if isinstance(failure, kind)), "RuntimeError")
