"""The pen: matplotlib's pictures of panels and of whole figures. Names in them are text, never markup."""

import io
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from revgn_lab.report.figures.curves import Curve, thinned
from revgn_lab.report.figures.palette import Style, styles
from revgn_lab.report.figures.panels import Figure, Heatmap, Panel

Looks = Mapping[str, Style]

SIZE = (4.8, 3.3)
"""Inches of a panel: of a width at which its letters can be read on a phone."""
ERROR_BARS = 2.0
"""Standard errors to each side."""
_TEXT, _GRID = "#1a1a1a", "#e3e3e3"
_HEAT = "cividis"  # for the colour-blind, and one that prints in black and white
_DARK = 0.6  # cells of a heat map below this value have white letters
_BAND_OPACITY = 0.18
_MARKERS = 10  # on a line: enough to tell lines apart, few enough to see them
_DPI = 110
_ONE_LINE = 46  # letters of words below an axis that fit side by side
_LEGEND_LINE = 0.24  # inches
_LEGEND_LETTERS = 62  # in a line of the legend, as wide as a panel; as many as 9 take the place of a line's sample
_SAMPLE = 9
_MOST_MARKED = 6  # values along a logarithmic x axis that each have a label
_FEW_DECADES = 2.0  # that a logarithmic axis spans: powers of ten alone would be too few labels
_ONE_LABEL = 0.7  # decades, within which there may be just one of the digits 1, 2 and 5
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def pictures(figure: Figure, looks: Looks | None = None) -> dict[str, bytes]:
    """The figure as files, by the ends of their names: PNG for screens, PDF for print. The same for the same data."""
    with plain():
        drawn = drawing(figure, looks)
        drawn.draw_without_rendering()
        drawn.set_layout_engine(None)  # it is laid out now, which takes as long as drawing
        return {"png": _saved(drawn, "png"), "pdf": _saved(drawn, "pdf")}


@contextmanager
def plain() -> Generator[None]:
    """Settings of matplotlib for all drawing here: a dollar is a dollar, and letters stay letters in SVG."""
    with matplotlib.rc_context({"text.parse_math": False, "svg.fonttype": "none", "axes.unicode_minus": True}):
        yield


def drawing(figure: Figure, looks: Looks | None = None) -> Canvas:
    """All panels, two to a row, above one legend.

    Args:
        figure: what to draw.
        looks: styles by name, so that an optimizer looks the same in all figures of a page.
    """
    columns = min(2, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    legend = figure.legend
    fitting = max(1, columns * _LEGEND_LETTERS // (max(map(len, legend.values()), default=0) + _SAMPLE))
    across = min(len(legend), fitting)
    below = _LEGEND_LINE * (-(-len(legend) // across) if legend else 0)
    # Not by way of pyplot, which keeps every figure alive and may open windows.
    canvas = Canvas(figsize=(SIZE[0] * columns, SIZE[1] * rows + below), layout="constrained")
    chosen = looks_of(figure, looks)
    for index, panel in enumerate(figure.panels):
        draw(canvas.add_subplot(rows, columns, index + 1), panel, chosen)
    if legend:
        handles = [sample(chosen[name]) for name in legend]
        canvas.legend(
            handles, list(legend.values()), loc="outside lower center", ncols=across, frameon=False, handlelength=3
        )
    return canvas


def looks_of(figure: Figure, looks: Looks | None) -> dict[str, Style]:
    """The styles of a figure's curves: those that are given, and others for curves that are no optimizers."""
    return {**styles(list(figure.legend)), **(looks or {})}


def sample(style: Style) -> Line2D:
    """What stands before a name in a legend."""
    return Line2D([], [], color=style.colour, linestyle=style.dash, marker=style.marker)


def draw(axes: Axes, panel: Panel | Heatmap, looks: Looks) -> None:
    """One panel with its title, without a legend. Parts of the curve that looks k-th have the group name "series-k"."""
    axes.set_title(panel.title, fontsize="medium")
    if isinstance(panel, Heatmap):
        _draw_heatmap(axes, panel)
        return
    places = {name: index for index, name in enumerate(looks)}
    for curve in map(thinned, panel.curves):
        _draw_curve(axes, curve, looks[curve.name], f"series-{places[curve.name]}")
    if panel.line is not None:
        axes.axhline(panel.line.height, color=_TEXT, linewidth=0.8, linestyle="dashed")
        place = axes.get_yaxis_transform()  # x from 0 to 1, y as the data
        axes.text(0.99, panel.line.height, panel.line.label, transform=place, ha="right", va="bottom", fontsize="small")
    axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
    _mark_y(axes, panel)
    _mark_x(axes, panel)
    axes.grid(color=_GRID)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curve(axes: Axes, curve: Curve, style: Style, group: str) -> None:
    every = max(1, len(curve.x) // _MARKERS)
    (line,) = axes.plot(
        curve.x, curve.mean, color=style.colour, linestyle=style.dash, marker=style.marker, markevery=every
    )
    line.set_gid(group)
    if curve.error is not None:
        bars: ErrorbarContainer = axes.errorbar(
            curve.x, curve.mean, ERROR_BARS * curve.error, fmt="none", ecolor=style.colour, elinewidth=0.8, capsize=2
        )
        for part in (*bars.lines[1], *bars.lines[2]):
            part.set_gid(group)
    if curve.seeds > 1:
        band = axes.fill_between(curve.x, curve.low, curve.high, color=style.colour, alpha=_BAND_OPACITY, linewidth=0)
        band.set_gid(group)


def _mark_y(axes: Axes, panel: Panel) -> None:
    """Scale and ticks of the y axis: some six labels, whatever it spans."""
    if not panel.log:
        return
    axes.set_yscale("log")
    low = min(float(curve.low.min()) for curve in panel.curves)
    high = max(float(curve.high.max()) for curve in panel.curves)
    decades = float(np.log10(high / low))
    if decades > _FEW_DECADES:
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if decades > _ONE_LABEL else MaxNLocator(5))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_power if decades > _FEW_DECADES else _plain_number))
    axes.yaxis.set_minor_formatter("")


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
        values = sorted({float(x) for curve in panel.curves for x in curve.x})
        if len(values) <= _MOST_MARKED:
            axes.set_xticks(values)
        axes.xaxis.set_major_formatter(FuncFormatter(_plain_number if len(values) <= _MOST_MARKED else _power))
        axes.xaxis.set_minor_locator(NullLocator())
    elif all((curve.x % 1 == 0).all() for curve in panel.curves):  # steps and epochs
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))


def _plain_number(value: float, _position: int) -> str:
    return f"{value:g}" if value > 0 else ""  # a locator may ask for what lies below the axis


def _power(value: float, position: int) -> str:
    """A power of ten as one, without markup; other numbers as they are."""
    exponent = float(np.log10(value)) if value > 0 else 0.0
    if abs(exponent) > 1 and abs(exponent - round(exponent)) < 1e-6:
        return "10" + str(round(exponent)).translate(_SUPERSCRIPTS)
    return _plain_number(value, position)


def _draw_heatmap(axes: Axes, heatmap: Heatmap) -> None:
    # Not an image, which SVG would hold as a picture of its own.
    axes.pcolormesh(heatmap.values, vmin=0, vmax=1, cmap=_HEAT, edgecolors="white", linewidth=1)
    axes.set(aspect="equal", xlabel=heatmap.label)
    axes.invert_yaxis()
    middles = [place + 0.5 for place in range(len(heatmap.names))]
    axes.set_xticks(middles, heatmap.names, rotation=30, ha="right")
    axes.set_yticks(middles, heatmap.names)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(heatmap.values):
        colour = "white" if value < _DARK else _TEXT
        axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", color=colour)


def _saved(drawn: Canvas, form: Literal["png", "pdf"]) -> bytes:
    buffer = io.BytesIO()
    dateless = {"CreationDate": None} if form == "pdf" else None
    drawn.savefig(buffer, format=form, dpi=_DPI, metadata=dateless)
    return buffer.getvalue()
