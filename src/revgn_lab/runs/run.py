"""One run: from a configuration to a folder with its metrics, its checkpoint and its results."""

import functools
import logging
import math
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from tqdm import tqdm

from revgn_lab.errors import RunError
from revgn_lab.runs.build import build_data, build_loss, build_module, loss_targets, target_rows
from revgn_lab.runs.diagnosis.chosen import diagnoses
from revgn_lab.runs.diagnosis.representations import write_representations
from revgn_lab.runs.folders import CHECKPOINT, METRICS, REPRESENTATIONS, TENSORBOARD, State, claim
from revgn_lab.runs.metrics_table import MetricsTable
from revgn_lab.runs.run_result import Result, diverged, read_result, write_results
from revgn_lab.runs.several_processes import any_process, by_first, is_first
from revgn_lab.runs.training.callbacks import Evaluation, RunProgress, SaveEpochs
from revgn_lab.runs.training.checkpoints import AtomicCheckpointIO, read_checkpoint
from revgn_lab.runs.training.interrupts import StopBetweenSteps
from revgn_lab.runs.training.row_batches import batches
from revgn_lab.settings.config import RunConfig


def run(
    config: RunConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    group: dist.ProcessGroup | None = None,
) -> Result:
    """Train to the end; to diverge is an end too.

    The folder then holds config.yaml, metrics.csv, checkpoint.ckpt, tensorboard/ and results.json, and for the
    diagnostics `cka` also representations.npz: the states of the probe rows after each block or layer, at the end.

    Args:
        config: all settings.
        folder: of this run alone.
        resume: go on from the last checkpoint in the folder, to the very end that an unbroken run reaches; where there
            is none yet, start; where the run is complete, return what it found.
        overwrite: start over, replacing what the folder holds of a run.
        progress: whether to show a bar, on terminals only: a log file has no use for one that is drawn over and over.
        group: of processes that share the rows of each batch: the first one writes. None for this one alone.

    Raises:
        DataError, ConfigError, RunError: data, settings, folder or checkpoint are not what they should be.
        OSError: the folder cannot be written.
    """
    training = config.training
    dataset, loss = build_data(config), build_loss(config)
    module = build_module(config, dataset, loss, group)
    device = _device(training.device)

    def targets(of: Tensor) -> Tensor:
        return loss_targets(of, dataset.num_classes, loss=loss, dtype=dataset.inputs.dtype).to(device)

    loader = batches(
        dataset.inputs.to(device),
        targets(dataset.targets),
        training.batch_size,
        seed=training.seed,
        drop_last=training.drop_last,
    )
    table = MetricsTable(folder / METRICS)
    evaluation = Evaluation(
        dataset.test_inputs.to(device), targets(dataset.test_targets), every=training.evaluate_every
    )
    probe = evaluation.inputs[: training.probe_rows]
    rows = target_rows(dataset.test_targets[: len(probe)], dataset.num_classes, dtype=probe.dtype)
    diagnosis = diagnoses(training, module.model, probe, rows)
    state = by_first(group, lambda: claim(folder, config, resume=resume, overwrite=overwrite))
    if state is State.COMPLETE:
        return read_result(folder)
    checkpoint = folder / CHECKPOINT if (folder / CHECKPOINT).is_file() else None
    writes = is_first(group)
    # Its notes on hardware and on other products, which the output of this package has no room for.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    stop = StopBetweenSteps(functools.partial(any_process, group))
    written = [evaluation, *diagnosis, table, SaveEpochs(table, every=training.checkpoint_every)]
    steps = training.epochs * len(loader)
    disable = None if progress and writes else True
    with tqdm(total=steps, desc=folder.name, unit="step", disable=disable, dynamic_ncols=True) as bar, stop.listening():
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            max_epochs=training.epochs,
            callbacks=[stop, *(written if writes else []), RunProgress(bar)],
            logger=[table, _tensorboard(folder, checkpoint)] if writes else False,
            enable_checkpointing=writes,
            plugins=[AtomicCheckpointIO()],
            enable_model_summary=False,
            enable_progress_bar=False,
            log_every_n_steps=1,
            default_root_dir=folder,
        )
        try:
            _fit(trainer, module, loader, checkpoint)
        except FloatingPointError as error:
            reason = str(error)
            return by_first(group, lambda: diverged(folder, reason))

    def end() -> Result:
        if "cka" in training.diagnostics:
            write_representations(folder / REPRESENTATIONS, module.model, probe)
        last = {name: value if math.isfinite(value) else None for name, value in table.rows[module.steps].items()}
        write_results(folder, {**last, "steps": module.steps, "rows": len(dataset.inputs)})
        return Result(table.frame())

    return by_first(group, end)


def _fit(trainer: pl.Trainer, module: pl.LightningModule, loader: Any, checkpoint: Path | None) -> None:
    try:
        with warnings.catch_warnings(), _reporting_once():
            # Workers only cost where the data lie in memory; the other is between Lightning and torch.
            warnings.filterwarnings("ignore", ".*does not have many workers")
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint")  # those that write
            trainer.fit(module, loader, ckpt_path=checkpoint)
    except SystemExit:
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt from None  # which Lightning has turned into exit code 1


@contextmanager
def _reporting_once() -> Generator[None]:
    """Keep TensorBoard's writing thread from printing a traceback of what it also raises in this one: a full disk."""
    default = threading.excepthook

    def report(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            default(arguments)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = default


def _tensorboard(folder: Path, checkpoint: Path | None) -> TensorBoardLogger:
    # Steps that were logged after the checkpoint come again: tell TensorBoard to forget the first ones.
    purge = read_checkpoint(checkpoint)["progress"]["steps"] + 1 if checkpoint else None
    return TensorBoardLogger(folder, name=TENSORBOARD, version="", purge_step=purge)


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise RunError("device is cuda, but torch sees no GPU here; use --device auto")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
