"""How a test draws from a table."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest


def each(argument: str, table: Mapping[str, Any], where: Callable[[Any], bool] | None = None) -> pytest.MarkDecorator:
    """The test runs once for every entry of the table, or for those of which `where` holds, and is given the entry.

    Where it holds of none there would be nothing left of the test: that is an error.
    """
    chosen = {name: entry for name, entry in table.items() if where is None or where(entry)}
    if not chosen:
        raise ValueError(f"no entry of the table for {argument!r} is one that this test asks for")
    return pytest.mark.parametrize(argument, chosen.values(), ids=chosen.keys())
