"""Which figures answer the question of a study."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from revgn_lab.report.collection import Run
from revgn_lab.report.figures import catalogue as known
from revgn_lab.report.figures.courses import with_derived
from revgn_lab.report.figures.likeness import heat_maps, likeness
from revgn_lab.report.figures.panels import Figure, Specification

_ANY = (
    *known.TRAINING,
    *(known.LOSS_CHANGE, known.CHANGE_NORM),
    *known.KERNEL,
    *(known.ALIGNMENT, known.BLOCK_CKA, known.ACROSS),
    *known.WEIGHTS,
    *known.EXACTNESS,
)

STUDIES: Mapping[str, tuple[str, Sequence[Specification]]] = MappingProxyType(
    {
        "demo": (
            "Exact Gauss-Newton beside Adam and SGD",
            (known.LOSS, known.LOSS_BY_SECONDS, known.ACCURACY, *known.STEPS),
        ),
        "full-batch": ("Full batch", (*known.TRAINING, *known.STEPS)),
        "mini-batch": ("Mini-batches", (*known.TRAINING, *known.STEPS)),
        "ntk": ("The neural tangent kernel", known.KERNEL),
        "cka": ("Representations", (known.BLOCK_CKA, known.ACROSS)),
        "weights": ("Weights", known.WEIGHTS),
        "theorem": ("The theorem: practical and theoretical steps", known.THEOREM),
        "exactness": ("Exactness", known.EXACTNESS),
        "learning-rate": ("Learning rate", known.SWEEP),
        "init-scale": ("Scale of the initial weights", known.SWEEP),
        "weight-decay": ("Weight decay", known.SWEEP),
        "regularisation": ("Regularisation of the pseudo-inverse", known.SWEEP),
        "batch-size": ("Batch size", known.SWEEP),
        "no-bottleneck": ("Without a bottleneck", (*known.TRAINING, *known.STEPS)),
        "switch": ("Switching the optimizer", (*known.TRAINING, *known.STEPS)),
        "right-inverse": ("Which right inverse generalises", known.RIGHT_INVERSES),
        "regression": ("Regression on tables", (*known.TRAINING, *known.STEPS)),
    }
)
"""Title and figures of each study; others, and runs of no study, get every figure that they have data for."""


def title_of(study: str) -> str:
    """What a page calls the study."""
    return STUDIES[study][0] if study in STUDIES else study[:1].upper() + study[1:]


def is_sweep(study: str) -> bool:
    """Whether its settings are values along an axis, rather than each a question of its own."""
    return study in STUDIES and STUDIES[study][1] is known.SWEEP


def study_figures(study: str, frame: pd.DataFrame, runs: Sequence[Run]) -> list[Figure]:
    """The figures of a study that its runs have data for.

    Args:
        study: its name.
        frame: metrics of its runs, see `by_panel`.
        runs: all of it, for what they have beside metrics.
    """
    shown = STUDIES[study][1] if study in STUDIES else _ANY
    derived = with_derived(frame)
    made = [each.figure(by_panel(likeness(runs)) if each.kind is heat_maps else derived) for each in shown]
    return [figure for figure in made if figure.panels]


def by_panel(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with the data set in the name of the setting, where there are several: a panel for each."""
    if frame["dataset"].nunique() < 2:
        return frame
    return frame.assign(setting=frame["dataset"].astype(str) + ", " + frame["setting"].astype(str))
