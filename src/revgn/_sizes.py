"""Sizes of memory as people write them."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(size: int | str) -> int:
    """The bytes of a size such as 4_000_000_000 or "4 GB"; ValueError if it is no size above zero."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)\s*", size, re.IGNORECASE) if isinstance(size, str) else None
    amount = int(float(found[1]) * _UNITS[found[2].upper()]) if found else size
    if isinstance(amount, bool) or not isinstance(amount, int) or amount <= 0:
        raise ValueError(f"memory={size!r} is no size; give bytes as a whole number, or text such as '4 GB'")
    return amount


def say_bytes(amount: float) -> str:
    """Bytes in the largest unit of which there is at least one."""
    unit = next((u for u in reversed(_UNITS) if amount >= _UNITS[u]), "B")
    return f"{amount / _UNITS[unit]:.3g} {unit}"


PRODUCTS = (
    "use fewer rows, or products (Jacobian.apply and adjoint), as right_inverses.MoorePenrose(memory=...) does beyond "
    "its limit"
)


def require_room(amount: int, what: str, remedy: str = PRODUCTS) -> None:
    """Raise MemoryError, with what to do, where something would take more memory than this machine has."""
    try:
        room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system: torch will say it in its own words
        return
    if amount > room:
        raise MemoryError(f"{what} would take {say_bytes(amount)}, and this machine has {say_bytes(room)}; {remedy}")


@contextmanager
def naming_sizes() -> Generator[None]:
    """Say what to do where torch finds no room on the CPU; on a GPU its torch.OutOfMemoryError says it."""
    try:
        yield
    except RuntimeError as error:
        found = re.search(r"can't allocate memory: you tried to allocate (\d+) bytes", str(error))
        if found is None:
            raise
        raise MemoryError(
            f"a tensor of {say_bytes(int(found[1]))} finds no room in memory; use fewer rows, chunk_rows= of the "
            "reversible step, or right_inverses.MoorePenrose(memory=...), which forms no kernel beyond its limit"
        ) from error
