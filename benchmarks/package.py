"""torch-levenberg-marquardt from PyPI, as the benchmarks run it beside our own."""

import importlib.util
import logging
from typing import Any

import fresh
from problems import Problem

NAME = "torch-levenberg-marquardt"
# Without its dependencies: they could bring another torch.
INSTALL = f"pip install --no-deps {NAME} torchmetrics lightning-utilities pytorch-lightning"


def installed() -> bool:
    """Whether the package can be imported."""
    return importlib.util.find_spec("torch_levenberg_marquardt") is not None


def training_module(on: Problem, *, damping: float = 1e-3, damping_mode: str = "standard", **options: Any) -> Any:
    """What takes the package's steps, by mean squares, with these options of its `LevenbergMarquardtModule`."""
    from torch_levenberg_marquardt.damping import StandardDampingStrategy
    from torch_levenberg_marquardt.training import LevenbergMarquardtModule

    logging.getLogger("torch_levenberg_marquardt.training").addHandler(_OutOfMemoryHandler())
    strategy = StandardDampingStrategy(starting_value=damping, damping_mode=damping_mode)
    return LevenbergMarquardtModule(on.model, damping_strategy=strategy, **options)


class _OutOfMemoryHandler(logging.Handler):
    """The package logs what goes wrong in its solver and tries again; running out of memory should end it."""

    def emit(self, record: logging.LogRecord) -> None:
        if fresh.is_out_of_memory(RuntimeError(record.getMessage())):
            raise MemoryError(record.getMessage())
