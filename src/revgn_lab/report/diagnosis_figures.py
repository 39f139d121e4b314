"""Figures of what happens inside networks: tangent kernel, representations, weights, exactness.

Each takes the metrics of the runs and returns a `Figure` with one panel per setting, or per setting and block.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from revgn_lab.claims.epochs import Reduction
from revgn_lab.report.curves import Axis
from revgn_lab.report.figures import FLOAT32_EXACT, LOG_SPREAD, SPREAD
from revgn_lab.report.panels import Figure, Heatmap, Line, Panel, panels, recorded

SMALLEST_CHANGE = 1e-8
"""Of a kernel, as measured in float32: what is smaller is rounding, and drawn at this height."""
_BLOCK_SPREAD = f"A panel for each setting and block. {SPREAD}"
_HALVES = "f and g are the two half-couplings of a block"


def kernel_similarity(frame: pd.DataFrame) -> Figure:
    """Similarity of the tangent kernel to its start, over epochs."""
    return Figure(
        name="ntk-similarity",
        title="Similarity of the tangent kernel to its start",
        caption="Cosine between the neural tangent kernel after the epoch and the one before training, on fixed test "
        f"rows; 1 is no change. Bars: two standard errors where the kernel was estimated. {SPREAD}",
        panels=panels(
            frame,
            "ntk_similarity",
            "epoch",
            "similarity to the start",
            axis="epoch",
            reduction="last",
            error="ntk_similarity_error" if "ntk_similarity_error" in frame else None,
            line=Line(1.0, "no change"),
        ),
    )


def kernel_change(frame: pd.DataFrame) -> Figure:
    """Rate of change of the tangent kernel, over epochs."""
    change = recorded(frame, "ntk_change").clip(lower=SMALLEST_CHANGE)
    return Figure(
        name="ntk-change",
        title="Rate of change of the tangent kernel",
        caption="1 - cosine between the tangent kernels of a checkpoint and the next. Line: geometric mean over seeds; "
        f"band: smallest to largest; values below {SMALLEST_CHANGE:g} are drawn there.",
        panels=panels(
            frame.assign(ntk_change=change),
            "ntk_change",
            "epoch",
            "change since the last checkpoint",
            axis="epoch",
            reduction="last",
            log=True,
        ),
    )


def kernel_alignment(frame: pd.DataFrame) -> Figure:
    """Alignment of the tangent kernel with the targets, over epochs."""
    return Figure(
        name="kernel-alignment",
        title="Alignment of the tangent kernel with the targets",
        caption="Cosine between the neural tangent kernel after the epoch, mean over outputs, and the Gram matrix of "
        f"the targets, on fixed test rows: what grows has turned towards the targets. {SPREAD}",
        panels=panels(frame, "kernel_alignment", "epoch", "alignment with the targets", axis="epoch", reduction="last"),
    )


def block_cka(frame: pd.DataFrame) -> Figure:
    """CKA of each block's output with its own before training, over epochs."""
    return Figure(
        name="cka",
        title="Likeness of representations to those before training",
        caption="Debiased linear CKA of the output of a block, in other networks of a layer, after the epoch with that "
        f"before training, on fixed rows: 1 is the same up to rotation and scale, 0 is unrelated. {_BLOCK_SPREAD}",
        panels=_by_part(
            frame, "cka_", "epoch", "CKA with the start", axis="epoch", reduction="last", line=Line(1.0, "no change")
        ),
    )


def lowest_cka(frame: pd.DataFrame) -> Figure:
    """CKA of the block or layer that has moved most with its own before training, over epochs."""
    columns = [str(name) for name in frame if str(name).startswith("cka_")]
    return Figure(
        name="lowest-cka",
        title="Likeness of the representation that has moved most to that before training",
        caption="Debiased linear CKA of the output of a block, in other networks of a layer, after the epoch with that "
        f"before training, on fixed rows: 1 is the same up to rotation and scale, 0 is unrelated. {SPREAD}",
        panels=panels(
            frame.assign(lowest_cka=frame[columns].astype(float).min(axis=1)),
            "lowest_cka",
            "epoch",
            "lowest CKA with the start",
            axis="epoch",
            reduction="last",
            line=Line(1.0, "no change"),
        ),
    )


def optimizer_cka(likeness: pd.DataFrame) -> Figure:
    """CKA of the final representations of each optimizer with those of each other.

    Args:
        likeness: columns setting, block, a, b (labels of optimizers) and cka, symmetric.
    """
    return Figure(
        name="cka-across-optimizers",
        title="Likeness of final representations across optimizers",
        caption="Debiased linear CKA between the outputs of a block in the networks that two optimizers end with, from "
        "the same weights and on the same test rows; mean over seeds.",
        panels=tuple(_heatmap(table) for _, table in likeness.groupby(["setting", "block"], sort=False)),
    )


def weight_change(frame: pd.DataFrame) -> Figure:
    """Norm of the change of the weights of each half-coupling, over epochs."""
    moved = {str(name): frame[name].where(frame[name] > 0) for name in frame if str(name).startswith("weight_change_")}
    return Figure(
        name="weight-change",
        title="Change of the weights",
        caption=f"Norm of the change since the start, over the norm at the start; {_HALVES}. What did not move is not "
        "drawn. Line: geometric mean over seeds; band: smallest to largest.",
        panels=_by_part(
            frame.assign(**moved),
            "weight_change_",
            "epoch",
            "relative change of the weights",
            axis="epoch",
            reduction="last",
            log=True,
        ),
    )


def weight_cosine(frame: pd.DataFrame) -> Figure:
    """Cosine of the weights of each half-coupling with those before training, over epochs."""
    return Figure(
        name="weight-cosine",
        title="Cosine of the weights with their start",
        caption=f"1 is the direction that they started in; {_HALVES}. {SPREAD}",
        panels=_by_part(frame, "weight_cosine_", "epoch", "cosine with the start", axis="epoch", reduction="last"),
    )


def half_defects(frame: pd.DataFrame) -> Figure:
    """Defect of the solve in each half-coupling, over steps."""
    return Figure(
        name="defect-by-half-coupling",
        title="Defect of each half-coupling",
        caption=f"How much of its target a half-coupling leaves undone, at the worst step of the epoch; {_HALVES}. "
        f"Those that were not solved are not drawn. {LOG_SPREAD}",
        panels=_by_part(
            frame,
            "defect_",
            "optimizer step",
            "relative defect",
            reduction="max",
            log=True,
            line=Line(FLOAT32_EXACT, "exact up to here"),
        ),
    )


def half_ranks(frame: pd.DataFrame) -> Figure:
    """Rank of the features in each half-coupling, over steps."""
    return Figure(
        name="rank-by-half-coupling",
        title="Rank of the features of each half-coupling",
        caption="Singular values that the solver kept, of as many as the batch has rows; for mini-batches the mean of "
        f"the epoch. {_HALVES[0].upper()}{_HALVES[1:]}. {SPREAD}",
        panels=_by_part(frame, "rank_", "optimizer step", "singular values kept"),
    )


def _by_part(
    frame: pd.DataFrame,
    prefix: str,
    x_label: str,
    y_label: str,
    *,
    axis: Axis = "step",
    reduction: Reduction = "mean",
    log: bool = False,
    line: Line | None = None,
) -> tuple[Panel, ...]:
    """A panel for each setting and each block or half-coupling, as the ends of the columns' names say."""
    columns = [str(name) for name in frame if str(name).startswith(prefix)]
    drawn = (
        replace(panel, title=f"{panel.title}, block {name.removeprefix(prefix)}")
        for _, runs in frame.groupby("setting", sort=False)
        for name in columns
        for panel in panels(runs, name, x_label, y_label, axis=axis, reduction=reduction, log=log, line=line)
    )
    return tuple(drawn)


def _heatmap(table: pd.DataFrame) -> Heatmap:
    """Of one setting and block."""
    title = f"{table['setting'].iloc[0]}, block {table['block'].iloc[0]}"
    names = list(dict.fromkeys(table["a"]))
    means = table.pivot_table(index="a", columns="b", values="cka").reindex(index=names, columns=names)
    return Heatmap(title, names, means.to_numpy(dtype=np.float64), "CKA")
