"""Training by epochs: a step on each mini-batch, a learning rate that falls to zero, accuracies at fixed marks."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

import problems
from spaces import Setting

TRIAL_SEED = 0

Point = dict[str, float]
"""Of a curve: "epochs" of training done, and of each part that was judged the accuracy, and the loss as "NAME_loss"."""

PARTS_OF_THE_FIRST_EPOCH = (0.25, 0.5, 0.75)
BREAKDOWNS = (FloatingPointError, torch.linalg.LinAlgError)


@dataclass(frozen=True)
class Learner:
    """Something that trains.

    Attributes:
        optimizers: their learning rates are scheduled.
        step: on a batch of inputs and classes.
        judged: the module whose accuracy counts: the network, or an average of what it has been.
    """

    optimizers: Sequence[Optimizer]
    step: Callable[[Tensor, Tensor], Any]
    judged: nn.Module


@dataclass(frozen=True)
class Part:
    """Rows to judge by: inputs and their classes, on the CPU."""

    inputs: Tensor
    classes: Tensor


def train(
    learner: Learner,
    rows: Part,
    judges: Mapping[str, Part],
    *,
    batch: int,
    epochs: int,
    seed: int,
    decay: bool = True,
) -> list[Point]:
    """The curve of a training run.

    A run that breaks down counts as guessing from there on.

    Args:
        rows: to train on, where they are computed; drawn without replacement, in an order fixed by the seed.
        judges: rows by name, of which accuracy and loss are taken at every mark.
        decay: whether learning rates fall to zero along a cosine; else they stay.
    """
    generator = torch.Generator().manual_seed(seed)
    per_epoch = -(-len(rows.classes) // batch)
    falling = learner.optimizers if decay else ()
    schedules = [CosineAnnealingLR(optimizer, epochs * per_epoch) for optimizer in falling]
    marks = marks_of(per_epoch, epochs)
    curve: list[Point] = []
    taken, order = 0, iter(())
    try:
        for mark in marks:
            while taken < mark:
                if taken % per_epoch == 0:
                    order = iter(torch.randperm(len(rows.classes), generator=generator).split(batch))
                some = next(order).to(rows.classes.device)
                learner.step(rows.inputs[some], rows.classes[some])
                for schedule in schedules:
                    schedule.step()
                taken += 1
            curve.append({"epochs": mark / per_epoch, **judged(learner.judged, judges)})
    except BREAKDOWNS:
        guess = dict.fromkeys(judges, 1 / problems.CLASSES)
        guess |= {f"{name}_loss": math.log(problems.CLASSES) for name in judges}
        curve += [{"epochs": mark / per_epoch, **guess} for mark in marks[len(curve) :]]
    return curve


def tuned(
    run: Callable[[Setting, int, Mapping[str, Part]], list[Point]],
    settings: Iterable[Setting],
    judges: Mapping[str, Part],
    seeds: int,
) -> tuple[list[dict[str, Any]], Setting, list[list[Point]]]:
    """The trials, judged by the rows "validation" alone; the best setting in the end; its curves from other seeds.

    Args:
        run: the curve of a setting and a seed, on these judges.
    """
    validation = {"validation": judges["validation"]}
    tried = [{"setting": setting, "curve": run(setting, TRIAL_SEED, validation)} for setting in settings]
    chosen = max(tried, key=lambda trial: trial["curve"][-1]["validation"])["setting"]
    return tried, chosen, [run(chosen, TRIAL_SEED + 1 + index, judges) for index in range(seeds)]


def judged(model: nn.Module, judges: Mapping[str, Part]) -> Point:
    """Accuracy and loss on each part."""
    found: Point = {}
    for name, part in judges.items():
        found[name], found[f"{name}_loss"] = problems.scores(model, part.inputs, part.classes)
    return found


def marks_of(per_epoch: int, epochs: int) -> list[int]:
    """The steps after which accuracies are taken: within the first epoch, and after each."""
    early = {max(1, round(part * per_epoch)) for part in PARTS_OF_THE_FIRST_EPOCH}
    return sorted(early | {per_epoch * (epoch + 1) for epoch in range(epochs)})
