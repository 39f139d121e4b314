"""What happens between epochs, and what is shown meanwhile."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import Tensor
from tqdm import tqdm

from revgn_lab.runs.diagnosis.diagnosis import is_due
from revgn_lab.runs.evaluation import evaluate
from revgn_lab.runs.folders import CHECKPOINT
from revgn_lab.runs.metrics_table import MetricsTable
from revgn_lab.runs.training.training_module import TrainingModule


class Evaluation(Callback):
    """Test loss and accuracy before training, every few epochs and at the end.

    Args:
        inputs, targets: all test rows.
        every: epochs from one evaluation to the next.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, *, every: int) -> None:
        self.inputs = inputs
        self.targets = targets
        self.every = every

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 0:
            self._evaluate(pl_module, epochs=0)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if is_due(trainer, self.every):
            self._evaluate(pl_module, epochs=trainer.current_epoch + 1)

    def _evaluate(self, module: pl.LightningModule, *, epochs: int) -> None:
        assert isinstance(module, TrainingModule)
        metrics = evaluate(module.model, module.loss, self.inputs, self.targets, module.classes)
        named = {f"test_{name}": value for name, value in metrics.items()}
        module.record({"epoch": epochs, "seconds": module.seconds, **named})


class SaveEpochs(Checkpoint):
    """Writes metrics and checkpoint every few epochs and at the end, after all other callbacks have had their say.

    Args:
        table: the metrics.
        every: epochs from one checkpoint to the next.
    """

    def __init__(self, table: MetricsTable, *, every: int) -> None:
        self.table = table
        self.every = every

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if is_due(trainer, self.every):
            self.table.write()
            trainer.save_checkpoint(self.table.path.parent / CHECKPOINT)


class RunProgress(Callback):
    """One bar over all steps of a run, with the loss and the defect of the step just taken and the time left.

    Args:
        bar: counts steps; who made it closes it.
    """

    def __init__(self, bar: "tqdm[Any]") -> None:
        self.bar = bar

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.bar.update(pl_module.steps)  # those of before a resumption

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        shown = {name: f"{value:.1e}" for name, value in pl_module.last_row.items() if name in ("loss", "defect")}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(1)
