"""When a network is diagnosed, and where the findings go."""

import abc

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback


class Diagnosis(Callback, abc.ABC):
    """Looks at a network before training, every few epochs and at the end, and tells all loggers of the trainer.

    It changes nothing about the training: no gradients, modes or random numbers.

    Args:
        every: epochs from one diagnosis to the next.
    """

    def __init__(self, *, every: int = 1) -> None:
        self.every = every

    @abc.abstractmethod
    def begin(self, device: torch.device) -> None:
        """Remember what later findings are compared with, unless a checkpoint has brought it; inputs to the device."""

    @abc.abstractmethod
    def findings(self) -> dict[str, float]:
        """The metrics of the network as it is now, by name."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.begin(pl_module.device)
        if trainer.current_epoch == 0:
            self._log(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if is_due(trainer, self.every):
            self._log(trainer, pl_module)

    def _log(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        # Lightning counts a step for every optimizer that takes part in it.
        step = getattr(module, "steps", trainer.global_step)
        metrics = self.findings()
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step)


def is_due(trainer: pl.Trainer, every: int) -> bool:
    """Whether what happens every few epochs and at the end happens after this one."""
    done = trainer.current_epoch + 1
    return done % every == 0 or done == trainer.max_epochs
