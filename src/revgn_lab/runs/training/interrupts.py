"""Ctrl-C between two steps, where nothing is half done."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback


class StopBetweenSteps(Callback):
    """Raises KeyboardInterrupt at the end of the step in which Ctrl-C came; a second Ctrl-C does not wait for that.

    An interrupt that comes while C++ code writes a checkpoint or a destructor runs can otherwise be lost or be taken
    for another error.

    Args:
        asked_anywhere: whether any process was asked, given whether this one was: all stop at the same step.
    """

    def __init__(self, asked_anywhere: Callable[[bool], bool] = bool) -> None:
        self.asked = False
        self._asked_anywhere = asked_anywhere

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._asked_anywhere(self.asked):
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Generator[None]:
        """Listen for Ctrl-C; afterwards it does what it did before, also where Lightning has made the process deaf."""
        if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
            yield
            return
        before = signal.signal(signal.SIGINT, self._ask)
        if before is signal.SIG_IGN:  # a job in the background is not to be stopped by the keyboard
            signal.signal(signal.SIGINT, before)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.asked = True
