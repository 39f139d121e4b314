"""How the benchmarks measure: seconds in pairs, products counted, and peak memory above the level before."""

import ctypes
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

Step = Callable[[], object]

_STATUS = Path("/proc/self/status")  # Linux
_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Times:
    """Seconds of one method, one entry a turn; entries of different methods in the same place were taken together."""

    taken: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.taken)

    @property
    def spread(self) -> tuple[float, float]:
        """The fastest and the slowest."""
        return min(self.taken), max(self.taken)

    def ratios(self, baseline: "Times") -> "Times":
        """This over the baseline, pair by pair."""
        return Times(tuple(ours / theirs for ours, theirs in zip(self.taken, baseline.taken, strict=True)))

    def beside(self, baseline: "Times") -> dict[str, float]:
        """Columns of a table: the median of the seconds, and of the ratios to a baseline with their range."""
        ratios = self.ratios(baseline)
        lowest, highest = ratios.spread
        return {"seconds": self.median, "ratio": ratios.median, "lowest": lowest, "highest": highest}


def synchronize() -> None:
    """Wait for the accelerator, where there is one: its work is not done when a call returns."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(step: Step) -> float:
    """What one call takes."""
    synchronize()
    start = time.perf_counter()
    step()
    synchronize()
    return time.perf_counter() - start


def in_turns(methods: Mapping[str, Step], turns: int) -> dict[str, Times]:
    """Every method once a turn, in alternating order, so that a machine that drifts drifts for all of them.

    Not warmed up: call `counted` or the steps themselves before.
    """
    taken: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(turns):
        for name in list(methods) if turn % 2 else reversed(methods):
            taken[name].append(seconds(methods[name]))
    return {name: Times(tuple(each)) for name, each in taken.items()}


def fastest(candidates: Mapping[str, Step], turns: int = 3) -> str:
    """The name of the candidate with the smallest median, after one round of warming up."""
    for step in candidates.values():
        step()
    times = in_turns(candidates, turns)
    return min(times, key=lambda name: times[name].median)


def repeated(step: Step, *, at_least: float, most: int) -> Times:
    """The same step again and again until it has taken `at_least` seconds or `most` turns.

    The first call warms up and is not counted, unless it alone takes as long.
    """
    first = seconds(step)
    if first >= at_least:
        return Times((first,))
    taken: list[float] = []
    while len(taken) < most and (not taken or sum(taken) < at_least):
        taken.append(seconds(step))
    return Times(tuple(taken))


def counted(step: Step) -> int:
    """Floating point operations in matrix products: what a step costs at least, on any machine."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def peak_memory(step: Step) -> int:
    """Bytes that a step takes at its peak beyond what was held before.

    On the CPU to be called in a process of its own (`fresh.call`) and warmed up on something small: what the process
    held and gave back earlier can be taken again without its peak rising, and libraries load on first use.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        synchronize()
        return torch.cuda.max_memory_allocated() - before
    _give_back()
    before = _forget_peak()
    step()
    return max(0, _peak() - before)


def _give_back() -> None:
    """Return to the system what the allocator keeps for later."""
    with suppress(AttributeError, OSError, TypeError):  # without glibc the allocator keeps little
        ctypes.CDLL(None).malloc_trim(0)


def _forget_peak() -> int:
    """Begin a new peak where the system can; the level that the next peak is to be compared with, in bytes."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return _peak()  # the peak of the whole process: right as long as it only grows
    return _status("VmRSS")


def _peak() -> int:
    """The largest resident memory so far, in bytes."""
    if _STATUS.exists():
        return _status("VmHWM")  # not ru_maxrss, which a process inherits from the one that started it
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def address_space() -> int:
    """Virtual memory in use, in bytes; 0 where the system does not tell."""
    return _status("VmSize") if _STATUS.exists() else 0


def interleaved(names: Sequence[str], rounds: int) -> list[str]:
    """The names `rounds` times over, every other time backwards."""
    return [name for turn in range(rounds) for name in (names if turn % 2 == 0 else list(reversed(names)))]
