"""The one error of the data package, also raised where an optional library is missing."""

from importlib import import_module
from typing import Any


class DataError(ValueError):
    """A data set cannot be had as asked: missing, truncated or wrong files, a wrong name, or unusable values.

    The message is one line that says what came, what was expected and what to do; commands print it as it is.
    """


def require(module: str, purpose: str, *, extra: str = "experiments") -> Any:
    """Import an optional `module`, needed for some `purpose` (say "to read CSV files"), that an `extra` brings.

    Raises:
        DataError: it is not installed; the message names the extra that brings it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise DataError(f"{library} is needed {purpose}: pip install 'revgn[{extra}]' ({error})") from error
