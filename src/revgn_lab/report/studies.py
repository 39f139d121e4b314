"""Which figures answer the question of a study."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from revgn_lab.report import diagnosis_figures as inside
from revgn_lab.report import figures as basic
from revgn_lab.report import sweep_figures as sweep
from revgn_lab.report import theorem_figures as theorem
from revgn_lab.report import training_figures as training
from revgn_lab.report.collection import Run
from revgn_lab.report.panels import Figure
from revgn_lab.report.representations import likeness

Maker = Callable[[pd.DataFrame], Figure]

_TRAINING: Sequence[Maker] = (
    basic.loss_by_step,
    basic.loss_by_seconds,
    training.loss_on_test_rows,
    training.loss_on_test_rows_by_seconds,
    training.training_accuracy,
    basic.accuracy_by_epoch,
    training.accuracy_by_seconds,
    training.r2_on_test_rows,
)
_STEPS: Sequence[Maker] = (basic.loss_change, basic.defect)
_KERNEL: Sequence[Maker] = (inside.kernel_similarity, inside.kernel_change)
_WEIGHTS: Sequence[Maker] = (inside.weight_change, inside.weight_cosine)
_EXACTNESS: Sequence[Maker] = (basic.defect, inside.half_defects, inside.half_ranks)
_SWEEP: Sequence[Maker] = (
    sweep.final_training_loss,
    sweep.final_test_loss,
    sweep.final_test_accuracy,
    sweep.final_r2,
    sweep.loss_by_value,
    sweep.accuracy_by_value,
)
_RIGHT_INVERSES: Sequence[Maker] = (
    sweep.accuracy_by_setting,
    basic.loss_by_step,
    basic.accuracy_by_epoch,
    training.change_norm,
    inside.kernel_similarity,
    inside.kernel_alignment,
    inside.lowest_cka,
)
_ANY: Sequence[Maker] = (
    *_TRAINING,
    basic.loss_change,
    training.change_norm,
    *_KERNEL,
    inside.kernel_alignment,
    inside.block_cka,
    *_WEIGHTS,
    *_EXACTNESS,
)

STUDIES: Mapping[str, tuple[str, Sequence[Maker]]] = MappingProxyType(
    {
        "full-batch": ("Full batch", (*_TRAINING, *_STEPS)),
        "mini-batch": ("Mini-batches", (*_TRAINING, *_STEPS)),
        "ntk": ("The neural tangent kernel", _KERNEL),
        "cka": ("Representations", (inside.block_cka,)),
        "weights": ("Weights", _WEIGHTS),
        "theorem": (
            "The theorem: practical and theoretical steps",
            (theorem.gap_by_learning_rate, theorem.loss_by_time),
        ),
        "exactness": ("Exactness", _EXACTNESS),
        "learning-rate": ("Learning rate", _SWEEP),
        "init-scale": ("Scale of the initial weights", _SWEEP),
        "weight-decay": ("Weight decay", _SWEEP),
        "regularisation": ("Regularisation of the pseudo-inverse", _SWEEP),
        "batch-size": ("Batch size", _SWEEP),
        "no-bottleneck": ("Without a bottleneck", (*_TRAINING, *_STEPS)),
        "switch": ("Switching the optimizer", (*_TRAINING, *_STEPS)),
        "right-inverse": ("Which right inverse generalises", _RIGHT_INVERSES),
        "regression": ("Regression on tables", (*_TRAINING, *_STEPS)),
    }
)
"""Title and figures of each study; others, and runs of no study, get every figure that they have data for."""


def title_of(study: str) -> str:
    """What a page calls the study."""
    return STUDIES[study][0] if study in STUDIES else study[:1].upper() + study[1:]


def study_figures(study: str, frame: pd.DataFrame, runs: Sequence[Run]) -> list[Figure]:
    """The figures of a study that its runs have data for.

    Args:
        study: its name.
        frame: metrics of its runs, see `by_panel`.
        runs: all of it, for what they have beside metrics.
    """
    makers = STUDIES[study][1] if study in STUDIES else _ANY
    made = [make(frame) for make in makers]
    made += [inside.optimizer_cka(by_panel(likeness(runs)))] if inside.block_cka in makers else []
    return [figure for figure in made if figure.panels]


def by_panel(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with the data set in the name of the setting, where there are several: a panel for each."""
    if frame["dataset"].nunique() < 2:
        return frame
    return frame.assign(setting=frame["dataset"].astype(str) + ", " + frame["setting"].astype(str))
