"""How many runs of a study are complete, shown while it goes on."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from tqdm import tqdm

_LINE_SECONDS = 60.0
_LINE = "{n_fmt} of {total_fmt} runs are complete, {elapsed} elapsed, about {remaining} left"


@contextmanager
def completion(total: int, initial: int) -> Generator[Callable[[int], object]]:
    """What is called with the number of complete runs: it moves a bar or, where there is no terminal, writes lines.

    Args:
        total: number of runs.
        initial: of them complete at the start.
    """
    if not sys.stderr.isatty():  # a log file has no use for a bar that is drawn over and over
        yield _lines(total, initial)
        return
    with tqdm(total=total, initial=initial, unit="run", dynamic_ncols=True) as bar:
        yield lambda complete: bar.update(complete - bar.n)


def _lines(total: int, initial: int) -> Callable[[int], None]:
    """A line every minute."""
    started = told = time.monotonic()

    def tell(complete: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < _LINE_SECONDS:
            return
        told = now
        meter = tqdm.format_meter(complete, total, now - started, initial=initial, bar_format=_LINE)
        tqdm.write(meter, file=sys.stderr)

    return tell
