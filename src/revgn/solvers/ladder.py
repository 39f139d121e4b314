"""The ladder down which a failed factorisation goes: Cholesky, more damping, eigendecomposition, SVD."""

import functools
import logging

log = logging.getLogger("revgn.solvers")


@functools.cache
def say_once(message: str) -> None:
    """Log a step down the ladder, the first time that it is taken in this process."""
    log.warning(message)
