"""Pictures of figures: plotly's for pages, matplotlib's for papers."""

import io
from collections.abc import Mapping
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from revgn.experiments.report.curves import Curve
from revgn.experiments.report.figures import Figure, Line, Panel
from revgn.experiments.report.palette import Style, styles

_MARKERS = 10  # on a line: enough to tell lines apart, few enough to see them
_BAND_OPACITY = 0.18
_TEXT = "#1a1a1a"
_GRID = "#e3e3e3"
_PLOTLY_AXIS: Mapping[str, Any] = {
    "showline": True,
    "linecolor": _TEXT,
    "gridcolor": _GRID,
    "zeroline": False,
    "automargin": True,
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def plotly_figure(panel: Panel) -> go.Figure:
    """An interactive picture of one panel; a click in the legend hides a line with its band."""
    figure = go.Figure()
    looks = styles([curve.optimizer for curve in panel.curves])
    for curve in panel.curves:
        if curve.seeds > 1:
            figure.add_trace(_plotly_band(curve, looks[curve.optimizer]))
        figure.add_trace(_plotly_line(curve, looks[curve.optimizer]))
    if panel.line is not None:
        _add_plotly_mark(figure, panel.line, log=panel.log)
    figure.update_xaxes(title=panel.x_label, rangemode="tozero", **_PLOTLY_AXIS)
    figure.update_yaxes(title=panel.y_label, **_PLOTLY_AXIS)
    if panel.log:
        figure.update_yaxes(type="log", exponentformat="power", dtick=_decades_between_ticks(panel))
    figure.update_layout(
        template="none",
        font={"family": _FONT, "color": _TEXT, "size": 13},
        height=380,
        margin={"l": 60, "r": 12, "t": 28, "b": 84},
        # At the very bottom, below the axis title: plotly's buttons come up at the top.
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hovermode="x unified",
    )
    return figure


def matplotlib_figure(figure: Figure) -> matplotlib.figure.Figure:
    """A picture for print of all panels, two to a row."""
    columns = min(2, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    # Not by way of pyplot, which keeps every figure alive and may open windows.
    canvas = matplotlib.figure.Figure(figsize=(5 * columns, 3.4 * rows), layout="constrained")
    for index, panel in enumerate(figure.panels):
        _draw_panel(canvas.add_subplot(rows, columns, index + 1), panel)
    return canvas


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG file; the same bytes for the same data."""
    buffer = io.BytesIO()
    matplotlib_figure(figure).savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _plotly_line(curve: Curve, style: Style) -> go.Scatter:
    return go.Scatter(
        x=curve.x,
        y=curve.mean,
        name=curve.optimizer,
        legendgroup=curve.optimizer,
        mode="lines+markers",
        line={"color": style.colour, "dash": style.dash, "width": 2},
        marker={"symbol": style.marker, "size": 8, "maxdisplayed": _MARKERS},
        hovertemplate="%{y:.3~g}",
    )


def _plotly_band(curve: Curve, style: Style) -> go.Scatter:
    """A closed outline, there along the largest values and back along the smallest."""
    return go.Scatter(
        x=np.concatenate([curve.x, curve.x[::-1]]),
        y=np.concatenate([curve.high, curve.low[::-1]]),
        name=f"{curve.optimizer}, seeds",
        legendgroup=curve.optimizer,
        showlegend=False,
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=style.colour,
        opacity=_BAND_OPACITY,
        hoverinfo="skip",
    )


def _add_plotly_mark(figure: go.Figure, line: Line, *, log: bool) -> None:
    figure.add_hline(y=line.height, line={"color": _TEXT, "width": 1, "dash": "dash"})
    figure.add_annotation(
        text=line.label,
        font={"size": 11},
        showarrow=False,
        xref="x domain",
        x=1,
        y=np.log10(line.height) if log else line.height,  # lines stand at values, but annotations at exponents
        xanchor="right",
        yanchor="bottom",
    )


def _decades_between_ticks(panel: Panel) -> int:
    """So that a logarithmic axis has some six labels, all of them powers of ten."""
    low = min(curve.low.min() for curve in panel.curves)
    high = max(curve.high.max() for curve in panel.curves)
    return max(1, round(float(np.log10(high / low)) / 6))


def _draw_panel(axes: Axes, panel: Panel) -> None:
    looks = styles([curve.optimizer for curve in panel.curves])
    for curve in panel.curves:
        _draw_curve(axes, curve, looks[curve.optimizer])
    if panel.line is not None:
        axes.axhline(panel.line.height, color=_TEXT, linewidth=0.8, linestyle="dashed")
        place = axes.get_yaxis_transform()  # x from 0 to 1, y as the data
        axes.text(0.99, panel.line.height, panel.line.label, transform=place, ha="right", va="bottom", fontsize="small")
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    if panel.log:
        axes.set_yscale("log")
    if all((curve.x % 1 == 0).all() for curve in panel.curves):  # steps and epochs
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=_GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _draw_curve(axes: Axes, curve: Curve, style: Style) -> None:
    axes.plot(
        curve.x,
        curve.mean,
        label=curve.optimizer,
        color=style.colour,
        linestyle=style.matplotlib_dash,
        marker=style.matplotlib_marker,
        markevery=max(1, len(curve.x) // _MARKERS),
    )
    if curve.seeds > 1:
        axes.fill_between(curve.x, curve.low, curve.high, color=style.colour, alpha=_BAND_OPACITY, linewidth=0)
