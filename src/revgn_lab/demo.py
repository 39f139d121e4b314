"""The demonstration: Gauss-Newton against Adam and SGD, on full batches and on mini-batches, as one page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from revgn.naming import unknown_name
from revgn_lab.errors import ConfigError, RunError
from revgn_lab.files import write_atomically
from revgn_lab.report.figures import figures, overview
from revgn_lab.report.page import About, page
from revgn_lab.report.printing import picture
from revgn_lab.runs.divergence import metrics_of_diverged
from revgn_lab.runs.environment import environment
from revgn_lab.runs.folders import METRICS
from revgn_lab.runs.metrics_table import COLUMNS
from revgn_lab.runs.run import count_steps, run
from revgn_lab.settings.config import RunConfig
from revgn_lab.settings.parsing import parse

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

    Under `out`: `index.html`, one page that needs nothing else; a PNG of each figure; `metrics.csv`, every step of
    every run; and the runs themselves in `runs/DATASET/`. Finished runs are not repeated, and an interrupted one goes
    on from its last checkpoint.

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
    runs = _train(_grid(dataset, plan, seeds), out / "runs" / dataset, progress=progress)
    trained = pd.concat(runs, ignore_index=True)
    frame = trained.reindex(columns=["setting", "optimizer", "seed", *COLUMNS])
    write_atomically(out / METRICS, frame.to_csv(index=False))
    for figure in (overview(frame), *figures(frame)):
        write_atomically(out / f"{figure.name}.png", picture(figure))
    write_atomically(out / "index.html", page(frame, about(dataset, plan, out, seeds)))
    return out / "index.html"


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


def _train(grid: Sequence[_Run], folder: Path, *, progress: bool) -> Iterator[pd.DataFrame]:
    """The metrics of each run."""
    total = sum(each.steps for each in grid)
    # None: on terminals only. A log file has no use for a bar that is drawn over and over.
    with tqdm(total=total, unit="step", disable=None if progress else True, dynamic_ncols=True) as bar:
        done = 0
        for each in grid:
            bar.set_description(each.name)
            metrics = _metrics(each.config, folder / each.name, bar)
            done += each.steps
            bar.update(done - bar.n)  # a finished run does not count its steps, a diverged one ends early
            yield metrics.assign(setting=each.setting, optimizer=each.optimizer, seed=each.seed)


def _metrics(config: RunConfig, folder: Path, bar: "tqdm[Any]") -> pd.DataFrame:
    """The metrics of a run: trained, finished or just read."""
    try:
        return run(config, folder, resume=True, progress=bar)
    except RunError:  # a run of other settings, or a damaged one: the folder is the demo's own
        return run(config, folder, overwrite=True, progress=bar)
    except FloatingPointError:  # to diverge is a result too
        return metrics_of_diverged(folder)


def about(dataset: str, plan: Plan, out: Path, seeds: Sequence[int]) -> About:
    """What the page says beside the data."""
    return About(
        title=f"Exact Gauss-Newton on {dataset}",
        introduction=(
            "A reversible network is trained with exact Gauss-Newton steps, with Adam and SGD, on all rows at once "
            f"and on mini-batches, {_times(len(seeds))}. Every optimizer takes the same number of steps from the "
            "same initial weights; learning rates were chosen for each by the training loss they reach.",
            "The loss is half the squared distance to one-hot targets, summed over the classes and averaged over the "
            "rows. All sentences and numbers below are computed from the runs.",
        ),
        settings=_settings(dataset, plan, seeds),
        environment=environment(),
        commands=(
            "pip install 'revgn[experiments]'",
            f"revgn demo --dataset {dataset} --seeds {' '.join(map(str, seeds))} --out {out}",
            f"# one run of it: revgn train {out}/runs/{dataset}/NAME/config.yaml",
        ),
    )


def _settings(dataset: str, plan: Plan, seeds: Sequence[int]) -> pd.DataFrame:
    """A row for each setting and optimizer."""
    rows = [
        {
            "setting": setting.name,
            "optimizer": optimizer,
            "learning rate": f"{rate:g}",
            "data": dataset,
            "training rows": "all" if setting.rows is None else f"{setting.rows:,}",
            "batch size": "all rows" if setting.batch_size is None else str(setting.batch_size),
            "epochs": str(setting.epochs),
            "seeds": ", ".join(map(str, seeds)),
            "network": _network(plan),
            "loss": "squared error",
            "dtype": "float32",
        }
        for setting in plan.settings
        for optimizer, rate in setting.learning_rates.items()
    ]
    return pd.DataFrame(rows)


def _times(seeds: int) -> str:
    return "once" if seeds == 1 else f"with {seeds} seeds"


def _network(plan: Plan) -> str:
    width = f", state of {plan.state_features}" if plan.state_features else ""
    return f"RevMLP, 2 blocks, {plan.hidden_features:,} hidden features{width}"
