"""Processes that end with the one that started them, also where it was killed and could not tell them."""

import os
import threading
import time

_SECONDS = 0.3


def end_with_parent(parent: int) -> None:
    """End this process at once when its parent has ended; files are written whole or not at all, so nothing breaks.

    Args:
        parent: its number, as itself has told: by now it may have ended already.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    os._exit(1)
