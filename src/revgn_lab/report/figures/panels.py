"""What a figure shows, in words and names of columns, and what it is made of once it has data: panels to be drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from revgn_lab.claims.epochs import Reduction
from revgn_lab.report.figures.curves import Axis, Curve


@dataclass(frozen=True)
class Line:
    """A horizontal line at `height`, and what it means."""

    height: float
    label: str


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes.

    Attributes:
        title: the setting.
        x_label: with its unit.
        y_label: with its unit.
        log: whether the y axis is logarithmic.
        curves: one per optimizer.
        line: a mark to compare with, or None.
        log_x: whether the x axis is logarithmic.
        ticks: positions on the x axis with what stands there, for values that are not numbers.
    """

    title: str
    x_label: str
    y_label: str
    log: bool
    curves: tuple[Curve, ...]
    line: Line | None = None
    log_x: bool = False
    ticks: tuple[tuple[float, str], ...] = ()

    @property
    def names(self) -> list[str]:
        """Of its curves, in their order."""
        return [curve.name for curve in self.curves]


@dataclass(frozen=True, eq=False)
class Heatmap:
    """A symmetric comparison of each of k things with each other, as k x k numbers from 0 to 1.

    Attributes:
        title: the setting.
        names: of the things compared, in their order.
        values: (k, k).
        label: what the numbers are.
    """

    title: str
    names: list[str]
    values: NDArray[np.float64]
    label: str


@dataclass(frozen=True, eq=False)
class Figure:
    """Panels with one message.

    Attributes:
        name: of its files and anchors, in lower case.
        title: what is shown.
        caption: how to read it, and how the numbers were made.
        panels: one per setting.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel | Heatmap, ...]

    @property
    def legend(self) -> dict[str, str]:
        """What the legend says of each curve, by name. A note of one panel alone stands in that panel's data only."""
        curves = [curve for panel in self.panels if isinstance(panel, Panel) for curve in panel.curves]
        notes = {
            curve.name: dict.fromkeys(other.note for other in curves if other.name == curve.name) for curve in curves
        }
        return {name: f"{name} ({', '.join(own)})" if any(own) else name for name, own in notes.items()}

    def shows_all_of(self, other: "Figure") -> bool:
        """Whether the panels of another figure are among its own."""
        return all(panel in self.panels for panel in other.panels)


@dataclass(frozen=True)
class Specification:
    """One figure, without its data.

    Attributes:
        name: of its files and anchors.
        title: what is shown.
        caption: how to read it, and how the numbers were made.
        column: of the metrics, see `courses.with_derived`. One that ends with "_" stands for all that begin like it.
        label: of the y axis, with its unit.
        kind: what makes panels of it and of the data.
        over: the x axis.
        reduction: over the steps of an epoch.
        log: whether the y axis is logarithmic.
        line: a mark to compare with.
        error: column with the standard errors of an estimate.
        lowest, highest: what lies beyond is drawn there.
        rise: how many times the largest first value is drawn at most, lest a diverging run flatten all the others.
    """

    name: str
    title: str
    caption: str
    column: str
    label: str
    kind: "Callable[[pd.DataFrame, Specification], tuple[Panel | Heatmap, ...]]"
    over: Axis = "step"
    reduction: Reduction = "mean"
    log: bool = False
    line: Line | None = None
    error: str = ""
    lowest: float | None = None
    highest: float | None = None
    rise: float | None = None

    def figure(self, data: pd.DataFrame) -> Figure:
        """The figure of these data; without panels where they have nothing of the kind."""
        return Figure(self.name, self.title, self.caption, self.kind(data, self))
