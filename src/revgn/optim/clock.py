"""How long the phases of a step take."""

import time
from collections.abc import Generator
from contextlib import contextmanager


class Clock:
    """Adds up seconds by phase.

    Attributes:
        seconds: of each phase so far. Phases end where a number is read, so that an accelerator's work is done.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Generator[None, None, None]:
        """Count what runs inside as of this phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
