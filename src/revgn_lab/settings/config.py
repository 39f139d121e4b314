"""What a run is made of."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from revgn_lab.errors import ConfigError

# Settings of `Training` that are at least 1 where they are given.
_COUNTS = ("epochs", "batch_size", "evaluate_every", "checkpoint_every", "switch_after", "probe_rows", "diagnose_every")


@dataclass(frozen=True)
class Training:
    """How a run goes.

    Args:
        epochs: passes over the training rows.
        batch_size: rows in a step; null for all of them.
        drop_last: leave out the rows that do not fill a last batch; the order changes with every epoch.
        seed: of the initial weights and of the order of the rows.
        dtype: of parameters and data.
        device: auto takes a GPU where there is one.
        evaluate_every: epochs from one evaluation on the test rows to the next.
        checkpoint_every: epochs from one checkpoint to the next.
        loss_after_step: also record the loss on the same batch after every step; costs a forward pass.
        schedule_by: whether the scheduler counts epochs or steps.
        switch_after: epochs after which the second optimizer takes over from the first.
        diagnostics: what to record of the network beside its loss: its tangent kernel, the alignment of that with the
            targets, the representations after each block or layer, the weights of each half-coupling or layer, how
            exact Gauss-Newton is in each half-coupling.
        probe_rows: of the test part, the first ones, on which kernel and representations are taken; all if it has less.
        diagnose_every: epochs from one diagnosis to the next.
    """

    epochs: int = 10
    batch_size: int | None = None
    drop_last: bool = True
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    evaluate_every: int = 1
    checkpoint_every: int = 1
    loss_after_step: bool = True
    schedule_by: Literal["epoch", "step"] = "epoch"
    switch_after: int | None = None
    diagnostics: list[Literal["ntk", "alignment", "cka", "weights", "exactness"]] = field(default_factory=list)
    probe_rows: int = 128
    diagnose_every: int = 1

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if "cka" in self.diagnostics and self.probe_rows < 4:
            raise ConfigError(f"cka compares at least 4 rows, got {self.probe_rows}; raise probe_rows")
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative, got {self.seed}")


@dataclass(frozen=True)
class Part:
    """A class by name, and its arguments."""

    class_path: str
    init_args: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run.

    Args:
        data: arguments of `revgn_lab.data.load`.
        parts: classes with their arguments by the names of `KINDS`: "model", "optimizer", "optimizer.solver", ...; of
            the kinds that can be left out only those that were chosen. Arguments that the data decide are left out.
        training: how the run goes.

    Raises:
        ConfigError: a second optimizer without an epoch to begin after, or the other way round.
    """

    data: Mapping[str, Any]
    parts: Mapping[str, Part]
    training: Training

    def __post_init__(self) -> None:
        second = self.parts.get("second_optimizer")
        if (second is None) != (self.training.switch_after is None):
            raise ConfigError(
                f"second_optimizer is {second and second.class_path} and switch_after is {self.training.switch_after}; "
                "give both to switch, or neither"
            )

    def as_dict(self) -> dict[str, Any]:
        """The settings as they stand in YAML, defaults included."""
        parts = {name: asdict(part) for name, part in self.parts.items()}
        for name in [name for name in parts if "." in name]:  # a part of a part stands among its arguments
            whole, _, own = name.rpartition(".")
            parts[whole]["init_args"][own] = parts.pop(name)
        settings = {"data": dict(self.data), **parts, **asdict(self.training)}
        return json.loads(json.dumps(settings, default=str))  # tuples are lists there, and paths are words
