"""The demonstration: Gauss-Newton against Adam and SGD, on full batches and on mini-batches, as one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from revgn.naming import unknown_name
from revgn_lab.errors import ConfigError, RunError
from revgn_lab.report.page import write_report
from revgn_lab.runs.divergence import record_divergence
from revgn_lab.runs.run import count_steps, run
from revgn_lab.settings.config import RunConfig
from revgn_lab.settings.parsing import parse
from revgn_lab.studies.rows import Row, write_rows

SEEDS = (42, 43, 44)  # the authors'


@dataclass(frozen=True)
class Setting:
    """One way to train, the same for every optimizer but for the learning rate.

    Attributes:
        name: as the figures call it.
        rows: of the training part; None for all.
        batch_size: None for the full batch.
        epochs: passes over the rows.
        evaluate_every: epochs between evaluations on the test rows.
        learning_rates: by optimizer.
    """

    name: str
    rows: int | None
    batch_size: int | None
    epochs: int
    evaluate_every: int
    learning_rates: Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """What is run on a data set: a network, and the settings it is trained in."""

    hidden_features: int
    settings: tuple[Setting, ...]
    state_features: int | None = None  # the width of the inputs


# Learning rates: of those tried, the one with the lowest training loss in the end, for each optimizer and setting.
# On digits, 20 epochs with seed 0 (and 42 on the full batch): SGD at 0.003, 0.01, 0.03, 0.1 and 0.2, where it diverges;
# Adam at 3e-4, 1e-3, 3e-3, 1e-2 (and 3e-2 on the full batch); Gauss-Newton at 0.5 and 1 on the full batch, at 0.1,
# 0.25, 0.5 and 1 on mini-batches.
# On Fashion-MNIST, 10 and 2 epochs with seed 0: Adam from 3e-5 to 1e-3 (to 3e-4 on mini-batches), SGD from 3e-3 until
# it diverges, which it does at 0.03; Gauss-Newton on the full batch at 1, on mini-batches at 0.25, 0.5 and 1.
PLANS: Mapping[str, Plan] = {
    "digits": Plan(
        hidden_features=2000,
        state_features=128,  # twice the inputs: in a state of 64, Gauss-Newton at lr = 1 overshoots and diverges
        settings=(
            Setting("full batch", 1024, None, 20, 1, {"GaussNewton": 1.0, "Adam": 1e-3, "SGD": 0.1}),
            Setting("mini-batches", None, 128, 20, 1, {"GaussNewton": 1.0, "Adam": 3e-3, "SGD": 0.1}),
        ),
    ),
    "fashion-mnist": Plan(
        hidden_features=8000,
        settings=(
            Setting("full batch", 1024, None, 10, 2, {"GaussNewton": 1.0, "Adam": 1e-4, "SGD": 0.01}),
            Setting("mini-batches", 4096, 512, 5, 1, {"GaussNewton": 0.5, "Adam": 1e-4, "SGD": 0.01}),
        ),
    ),
}


def demo(
    dataset: str = "digits",
    out: Path = Path("runs/demo"),
    seeds: Sequence[int] = SEEDS,
    *,
    progress: bool = True,
) -> Path:
    """Train every optimizer in every setting with every seed, and write what came of it.

    Under `out` is what a study leaves: the runs in `runs/DATASET/`, their table, and the report on them, whose page is
    `index.html`. Finished runs are not repeated, and an interrupted one goes on from its last checkpoint.

    Args:
        dataset: one of `PLANS`.
        out: where to write.
        seeds: of the initial weights and of the order of the mini-batches.
        progress: show a bar with the time left.

    Returns:
        The page's path.

    Raises:
        ConfigError: an unknown data set, or no seeds.
        DataError: the data cannot be had.
        OSError: the folder cannot be written to, or the disk is full.
    """
    plan, seeds = find_plan(dataset), list(dict.fromkeys(seeds))
    if not seeds:
        raise ConfigError("no seeds given; the demo needs at least one, such as 42")
    grid = _grid(dataset, plan, seeds)
    _train(grid, out / "runs" / dataset, progress=progress)
    write_rows(out, [_row(each, dataset) for each in grid])
    return write_report([out], out)


def find_plan(dataset: str) -> Plan:
    """The plan of a data set.

    Raises:
        ConfigError: there is none of that name.
    """
    if dataset not in PLANS:
        raise ConfigError(unknown_name("dataset", dataset, PLANS))
    return PLANS[dataset]


def run_config(dataset: str, plan: Plan, setting: Setting, optimizer: str, seed: int) -> RunConfig:
    """The configuration of one run of the demo."""
    return parse(
        {
            "data": {"name_or_path": dataset, "rows": setting.rows},
            "model": {
                "num_blocks": 2,
                "hidden_features": plan.hidden_features,
                "state_features": plan.state_features,
            },
            # Squared error on one-hot targets: the loss whose curvature Gauss-Newton has exactly right.
            "loss": "MSELoss",
            "optimizer": {"class_path": optimizer, "init_args": {"lr": setting.learning_rates[optimizer]}},
            "epochs": setting.epochs,
            "batch_size": setting.batch_size,
            "seed": seed,
            "device": "cpu",  # so that every machine tells the same story
            "evaluate_every": setting.evaluate_every,
            "checkpoint_every": 10,  # runs are short, and a checkpoint costs as much as a step
            "loss_after_step": True,
        }
    )


@dataclass(frozen=True)
class _Run:
    """One cell of the demo's grid."""

    setting: str
    optimizer: str
    seed: int
    config: RunConfig
    steps: int

    @property
    def name(self) -> str:
        return f"{self.setting.replace(' ', '-')}-{self.optimizer}-{self.seed}"


def _grid(dataset: str, plan: Plan, seeds: Sequence[int]) -> list[_Run]:
    """All runs, the first seed's first, so that the time left is soon known."""
    grid: list[_Run] = []
    for setting in plan.settings:
        # Every optimizer takes the same number of steps; to count them reads the data.
        steps = count_steps(run_config(dataset, plan, setting, next(iter(setting.learning_rates)), seeds[0]))
        grid += [
            _Run(setting.name, name, seed, run_config(dataset, plan, setting, name, seed), steps)
            for name in setting.learning_rates
            for seed in seeds
        ]
    return sorted(grid, key=lambda each: seeds.index(each.seed))


def _row(each: _Run, dataset: str) -> Row:
    """A line of the table of runs. These have folders of their own, and need neither overrides nor a process."""
    folder = f"runs/{dataset}/{each.name}"
    return Row(
        study="demo",
        scale="",
        dataset=dataset,
        setting=each.setting,
        optimizer=each.optimizer,
        seed=each.seed,
        config=f"{folder}/config.yaml",
        overrides=(),
        folder=folder,
        batch="",
        threads=1,
    )


def _train(grid: Sequence[_Run], folder: Path, *, progress: bool) -> None:
    total = sum(each.steps for each in grid)
    # None: on terminals only. A log file has no use for a bar that is drawn over and over.
    with tqdm(total=total, unit="step", disable=None if progress else True, dynamic_ncols=True) as bar:
        done = 0
        for each in grid:
            bar.set_description(each.name)
            _finish(each.config, folder / each.name, bar)
            done += each.steps
            bar.update(done - bar.n)  # a finished run does not count its steps, a diverged one ends early


def _finish(config: RunConfig, folder: Path, bar: "tqdm[Any]") -> None:
    """A run: trained, finished or just read."""
    try:
        run(config, folder, resume=True, progress=bar)
    except RunError:  # a run of other settings, or a damaged one: the folder is the demo's own
        run(config, folder, overwrite=True, progress=bar)
    except FloatingPointError as error:  # to diverge is a result too
        record_divergence(folder, str(error))
