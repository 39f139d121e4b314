"""Pictures of figures for papers, by matplotlib."""

import io
from typing import Literal

import matplotlib
import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from revgn_lab.report.curves import Curve, thinned
from revgn_lab.report.drawing import (
    BAND_OPACITY,
    ERROR_BARS,
    GRID,
    HEAT,
    MARKERS,
    TEXT,
    Looks,
    looks_of,
    x_values,
)
from revgn_lab.report.palette import Style
from revgn_lab.report.panels import Figure, Heatmap, Panel

_DPI = 110
_ONE_LINE = 60  # letters of words below an axis that fit side by side
_DARK = 0.6  # cells of a heat map below this value have white letters


def matplotlib_figure(figure: Figure, looks: Looks | None = None) -> matplotlib.figure.Figure:
    """A picture for print of all panels, two to a row.

    Args:
        figure: what to draw.
        looks: styles by name, see `drawing.plotly_figure`.
    """
    columns = min(2, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    # Not by way of pyplot, which keeps every figure alive and may open windows.
    canvas = matplotlib.figure.Figure(figsize=(5 * columns, 3.4 * rows), layout="constrained")
    for index, panel in enumerate(figure.panels):
        axes = canvas.add_subplot(rows, columns, index + 1)
        if isinstance(panel, Heatmap):
            _draw_heatmap(axes, panel)
        else:
            _draw_panel(axes, panel, looks)
    return canvas


def picture(figure: Figure) -> bytes:
    """The figure as a PNG file; the same bytes for the same data."""
    return _saved(matplotlib_figure(figure), "png")


def pictures(figure: Figure, looks: Looks | None = None) -> dict[str, bytes]:
    """The figure as files, by the ends of their names: PNG for screens and PDF for print."""
    drawn = matplotlib_figure(figure, looks)
    drawn.draw_without_rendering()
    drawn.set_layout_engine(None)  # it is laid out now, which takes as long as drawing
    return {"png": _saved(drawn, "png"), "pdf": _saved(drawn, "pdf")}


def _saved(drawn: matplotlib.figure.Figure, form: Literal["png", "pdf"]) -> bytes:
    buffer = io.BytesIO()
    dateless = {"CreationDate": None} if form == "pdf" else None
    drawn.savefig(buffer, format=form, dpi=_DPI, metadata=dateless)
    return buffer.getvalue()


def _draw_panel(axes: Axes, panel: Panel, looks: Looks | None) -> None:
    chosen = looks_of(panel, looks)
    for curve in map(thinned, panel.curves):
        _draw_curve(axes, curve, chosen[curve.name])
    if panel.line is not None:
        axes.axhline(panel.line.height, color=TEXT, linewidth=0.8, linestyle="dashed")
        place = axes.get_yaxis_transform()  # x from 0 to 1, y as the data
        axes.text(0.99, panel.line.height, panel.line.label, transform=place, ha="right", va="bottom", fontsize="small")
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    if panel.log:
        axes.set_yscale("log")
    _mark_x(axes, panel)
    axes.grid(color=GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(framealpha=0.8, edgecolor="none")


def _mark_x(axes: Axes, panel: Panel) -> None:
    """Scale and ticks of the x axis."""
    if panel.ticks:
        places, words = zip(*panel.ticks, strict=True)
        axes.set_xticks(places, words)
        if sum(map(len, words)) > _ONE_LINE:
            for label in axes.get_xticklabels():
                label.set(rotation=30, ha="right")
    elif panel.log_x:
        axes.set_xscale("log")
        if values := x_values(panel):
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.xaxis.set_minor_locator(NullLocator())
    elif all((curve.x % 1 == 0).all() for curve in panel.curves):  # steps and epochs
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_curve(axes: Axes, curve: Curve, style: Style) -> None:
    axes.plot(
        curve.x,
        curve.mean,
        label=curve.legend,
        color=style.colour,
        linestyle=style.matplotlib_dash,
        marker=style.matplotlib_marker,
        markevery=max(1, len(curve.x) // MARKERS),
    )
    if curve.error is not None:
        bars = ERROR_BARS * curve.error
        axes.errorbar(curve.x, curve.mean, yerr=bars, fmt="none", ecolor=style.colour, elinewidth=0.8, capsize=2)
    if curve.seeds > 1:
        axes.fill_between(curve.x, curve.low, curve.high, color=style.colour, alpha=BAND_OPACITY, linewidth=0)


def _draw_heatmap(axes: Axes, heatmap: Heatmap) -> None:
    axes.imshow(heatmap.values, vmin=0, vmax=1, cmap=HEAT)
    places = range(len(heatmap.names))
    axes.set_xticks(places, heatmap.names, rotation=30, ha="right")
    axes.set_yticks(places, heatmap.names)
    axes.set_title(f"{heatmap.title}: {heatmap.label}")
    for row in places:
        for column in places:
            value = float(heatmap.values[row, column])
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < _DARK else TEXT)
