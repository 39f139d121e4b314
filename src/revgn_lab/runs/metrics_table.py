"""The metrics of a run, one row a step, in a CSV file that is whole at any time and never holds a row twice."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from revgn_lab.files import write_atomically

COLUMNS = {  # of the CSV file, in this order, with what each holds
    "step": "from 1; row 0 tells of the network before training",
    "epoch": "that the step belongs to, from 1",
    "seconds": "wall-clock time of all training up to and with this step, without evaluation",
    "lr": "learning rate of the step",
    "loss": "on the rows of the step, before it",
    "loss_after": "on the same rows, after it",
    "loss_change": "from one to the other, in percent",
    "accuracy": "on the rows of the step, before it, in percent",
    "r2": "the same for regression, 1 at best",
    "defect": "how much of the wanted change the step leaves undone, relative",
    "exact": "1 where the step is exact, 0 where it is not",
    "change_norm": "norm of the step over that of all parameters before it",
    "accepted": "1 where the control let the step stand, 0 where it took it back",
    "length": "multiple of the learning rate that the control chose",
    "damping": "of the step, relative to the mean diagonal of its Gram matrix; 0 for none",
    "gain_ratio": "fall of the loss, over the fall that the linear model predicted",
    "ridge": "strength that control Ridge chose",
    "effective_parameters": "that are left at that strength",
    "test_loss": "on all test rows, after the step",
    "test_accuracy": "on all test rows, after the step, in percent",
    "test_r2": "the same for regression, 1 at best",
}
DIAGNOSTIC_COLUMNS = {  # after those, where `training.diagnostics` asks for them, in this order
    "ntk_similarity": "of the tangent kernel after the step to the one before training, 1 at most",
    "ntk_similarity_error": "standard error of that; 0 where it is exact",
    "ntk_change": "1 - similarity of the tangent kernel to the one at the last diagnosis",
    "kernel_alignment": "cosine of the tangent kernel, mean over outputs, and the Gram matrix of the targets",
    "cka_*": "debiased linear CKA of the outputs of block or layer * with what they were before training",
    "weight_change_*": "||W - W_0|| / ||W_0|| of a half-coupling or layer, W_0 before training",
    "weight_cosine_*": "cosine of W and W_0",
    "defect_*": "what a half-coupling leaves undone of its target in this step, relative; none if it was not solved",
    "rank_*": "how many directions of its features the step kept",
}
"""* is the number of a block from 1, followed by f or g for a half-coupling: cka_2, rank_2f, rank_2g; outside of
reversible networks that of a linear or convolutional layer."""
_PLACES = {name: place for place, name in enumerate((*COLUMNS, *DIAGNOSTIC_COLUMNS))}


def in_order(names: Iterable[str]) -> list[str]:
    """Those of the names that are columns of the table, in the table's order."""
    return sorted((name for name in names if _family(name)[0] in _PLACES), key=_place)


def _family(name: str) -> tuple[str, int, str]:
    """A column's name in COLUMNS or DIAGNOSTIC_COLUMNS, its block (0 for none), and its half."""
    parts = re.fullmatch(r"(.+_)(\d+)([fg]?)", name)
    return (f"{parts[1]}*", int(parts[2]), parts[3]) if parts else (name, 0, "")


def _place(name: str) -> tuple[int, int, str]:
    family, block, half = _family(name)
    return _PLACES[family], block, half


class MetricsTable(Logger, Callback):
    """Keeps all rows and writes them together; they travel in the checkpoint, so that a resumed run repeats none.

    As a logger it is told metrics, as a callback it puts its rows into the checkpoint and takes them out.

    Args:
        path: of the CSV file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, dict[str, float]] = {}

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Settings stand in the run's config.yaml."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.rows.setdefault(step or 0, {}).update(metrics)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, FloatingPointError):  # what led to it is worth seeing
            self.write()

    def frame(self) -> pd.DataFrame:
        """All rows, with the columns that any of them has."""
        frame = pd.DataFrame([{"step": step, **row} for step, row in sorted(self.rows.items())])
        return frame.reindex(columns=in_order(frame.columns))

    def write(self) -> None:
        """Replace the file by all rows so far."""
        write_atomically(self.path, self.frame().to_csv(index=False))
