"""The course of a number in training: panels over steps, epochs, seconds or time, one per setting or per part of it."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from revgn_lab.claims.epochs import finite
from revgn_lab.report.figures.curves import Axis, curves
from revgn_lab.report.figures.panels import Panel, Specification
from revgn_lab.report.summary import recorded

_X_LABELS: Mapping[Axis, str] = {
    "step": "optimizer step",
    "epoch": "epoch",
    "seconds": "training time (seconds)",
    "time": "time (learning rate * step)",
}


def with_derived(frame: pd.DataFrame) -> pd.DataFrame:
    """The metrics with what figures show beside them.

    loss_change is 100 (after - before) / before, lowest_cka that of the block that moved most, time lr times the number
    of steps before; weights that did not move have no change, as a logarithmic axis has no zero.
    """
    before, after = (recorded(frame, name) for name in ("loss", "loss_after"))
    moved = {name: frame[name].where(frame[name] > 0) for name in columns_of(frame, "weight_change_")}
    return frame.assign(
        loss_change=100 * (after - before) / before.where(before > 0),
        lowest_cka=frame[columns_of(frame, "cka_")].astype(float).min(axis=1),
        time=recorded(frame, "lr") * (frame["step"] - 1),
        **moved,
    )


def columns_of(frame: pd.DataFrame, prefix: str) -> list[str]:
    """The columns that begin so, in their order."""
    return [str(name) for name in frame if str(name).startswith(prefix)]


def courses(frame: pd.DataFrame, shown: Specification) -> tuple[Panel, ...]:
    """A panel for each setting that has values; with a `column` for several, one for each setting and part."""
    drawn: list[Panel] = []
    for setting, runs in frame.groupby("setting", sort=False):
        if not shown.column.endswith("_"):
            drawn.append(_panel(str(setting), runs, shown))
            continue
        for column in columns_of(frame, shown.column):
            title = f"{setting}, block {column.removeprefix(shown.column)}"
            drawn.append(_panel(title, runs, replace(shown, column=column)))
    return tuple(panel for panel in drawn if panel.curves)


def _panel(title: str, runs: pd.DataFrame, shown: Specification) -> Panel:
    values = recorded(runs, shown.column).clip(shown.lowest, shown.highest)
    if shown.rise is not None:
        known = finite(values)
        first = known.groupby([runs["optimizer"], runs["seed"]]).transform("first")
        values = values.where(~(known > shown.rise * first.max()), shown.rise * first.max())
    found = curves(
        runs.assign(**{shown.column: values}),
        shown.column,
        axis=shown.over,
        reduction=shown.reduction,
        log=shown.log,
        error=shown.error if shown.error in runs else None,
    )
    return Panel(title, _X_LABELS[shown.over], shown.label, shown.log, tuple(found), shown.line)
