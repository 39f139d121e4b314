"""pandas without its types, which have a union of ten classes for the result of most methods."""

from importlib import import_module
from typing import Any, TypeAlias

pd: Any = import_module("pandas")
Column: TypeAlias = Any
"""A pandas Series."""
Frame: TypeAlias = Any
"""A pandas DataFrame."""
