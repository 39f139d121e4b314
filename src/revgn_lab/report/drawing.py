"""Interactive pictures of figures for pages, by plotly."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from revgn_lab.report.curves import Curve, thinned
from revgn_lab.report.palette import Style, styles
from revgn_lab.report.panels import Heatmap, Line, Panel

MARKERS = 10
"""On a line: enough to tell lines apart, few enough to see them."""
BAND_OPACITY = 0.18
ERROR_BARS = 2.0
"""Standard errors to each side."""
TEXT = "#1a1a1a"
GRID = "#e3e3e3"
HEAT = "cividis"
"""A colour scale for the colour-blind, and one that prints in black and white."""
_PLOTLY_AXIS: Mapping[str, Any] = {
    "showline": True,
    "linecolor": TEXT,
    "gridcolor": GRID,
    "zeroline": False,
    "automargin": True,
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_PLOT_HEIGHT = 350  # pixels, without the legend
_LEGEND_LINE = 20
_LETTERS = 44  # that a line of the legend has room for on a phone
_FEW_DECADES = 2.0  # that a logarithmic axis spans: powers of ten alone would be too few labels
_ONE_LABEL = 0.7  # decades, within which there may be just one of the digits 1, 2 and 5
_MOST_MARKED = 6  # values along an x axis that each have a label
_SYMBOL = 7  # as many letters take the place of a line's sample in the legend

Looks = Mapping[str, Style]


def plotly_figure(panel: Panel | Heatmap, looks: Looks | None = None) -> go.Figure:
    """An interactive picture of one panel; a click in the legend hides a line with its band.

    Args:
        panel: what to draw.
        looks: styles by name, so that an optimizer looks the same in all figures of a page.
    """
    figure = _plotly_heatmap(panel) if isinstance(panel, Heatmap) else _plotly_curves(panel, looks)
    figure.update_layout(template="none", font={"family": _FONT, "color": TEXT, "size": 13})
    return figure


def looks_of(panel: Panel, looks: Looks | None) -> dict[str, Style]:
    """The styles of a panel's curves: those that are given, and others for curves that are no optimizers."""
    return {**styles(panel.names), **(looks or {})}


def _plotly_curves(panel: Panel, looks: Looks | None) -> go.Figure:
    figure = go.Figure()
    chosen = looks_of(panel, looks)
    for curve in map(thinned, panel.curves):
        if curve.seeds > 1:
            figure.add_trace(_plotly_band(curve, chosen[curve.name]))
        figure.add_trace(_plotly_line(curve, chosen[curve.name]))
    if panel.line is not None:
        _add_plotly_mark(figure, panel.line, log=panel.log)
    figure.update_xaxes(
        title={"text": panel.x_label, "standoff": 12}, rangemode="normal" if panel.log_x else "tozero", **_PLOTLY_AXIS
    )
    figure.update_yaxes(title=panel.y_label, **_PLOTLY_AXIS)
    if panel.log:
        figure.update_yaxes(type="log", exponentformat="power", dtick=_ticks(panel))
    if panel.log_x:
        few = x_values(panel)
        figure.update_xaxes(type="log", exponentformat="power", dtick=1, tickvals=few or None)
    if panel.ticks:
        places, words = zip(*panel.ticks, strict=True)
        figure.update_xaxes(tickvals=places, ticktext=words, rangemode="normal")
    legend = _LEGEND_LINE * _legend_lines(panel)
    figure.update_layout(
        height=_PLOT_HEIGHT + legend,
        margin={"l": 60, "r": 12, "t": 28, "b": 58 + legend},
        # At the very bottom, below the axis title: plotly's buttons come up at the top.
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        showlegend=True,
        hovermode="x unified",
    )
    return figure


def _legend_lines(panel: Panel) -> int:
    """Lines that the legend takes on a phone."""
    widest = max(len(curve.legend) for curve in panel.curves) + _SYMBOL
    return -(-len(panel.curves) // max(1, _LETTERS // widest))


def x_values(panel: Panel) -> list[float]:
    """The values along an x axis, if they are few enough to stand below it."""
    values = sorted({float(x) for curve in panel.curves for x in curve.x})
    return values if len(values) <= _MOST_MARKED else []


def _plotly_line(curve: Curve, style: Style) -> go.Scatter:
    bars = None if curve.error is None else {"array": ERROR_BARS * curve.error, "thickness": 1, "width": 2}
    return go.Scatter(
        x=curve.x,
        y=curve.mean,
        error_y=bars,
        name=curve.legend,
        legendgroup=curve.name,
        mode="lines+markers",
        line={"color": style.colour, "dash": style.dash, "width": 2},
        marker={"symbol": style.marker, "size": 8, "maxdisplayed": MARKERS},
        hovertemplate="%{y:.3~g}",
    )


def _plotly_band(curve: Curve, style: Style) -> go.Scatter:
    """A closed outline, there along the largest values and back along the smallest."""
    return go.Scatter(
        x=np.concatenate([curve.x, curve.x[::-1]]),
        y=np.concatenate([curve.high, curve.low[::-1]]),
        name=f"{curve.name}, seeds",
        legendgroup=curve.name,
        showlegend=False,
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=style.colour,
        opacity=BAND_OPACITY,
        hoverinfo="skip",
    )


def _add_plotly_mark(figure: go.Figure, line: Line, *, log: bool) -> None:
    figure.add_hline(y=line.height, line={"color": TEXT, "width": 1, "dash": "dash"})
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


def _ticks(panel: Panel) -> int | str | None:
    """Plotly's `dtick` for some six labels on a logarithmic axis: powers of ten if it is long enough, or 1, 2 and 5."""
    low = min(curve.low.min() for curve in panel.curves)
    high = max(curve.high.max() for curve in panel.curves)
    decades = float(np.log10(high / low))
    if decades < _FEW_DECADES:
        return "D2" if decades > _ONE_LABEL else None  # plotly's choice
    return max(1, round(decades / 6))


def _plotly_heatmap(heatmap: Heatmap) -> go.Figure:
    figure = go.Figure(
        go.Heatmap(
            x=heatmap.names,
            y=heatmap.names,
            z=heatmap.values,
            zmin=0,
            zmax=1,
            colorscale=HEAT,
            colorbar={"title": heatmap.label, "thickness": 12},
            texttemplate="%{z:.2f}",
            hovertemplate="%{y} with %{x}: %{z:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(automargin=True)
    figure.update_layout(height=_PLOT_HEIGHT + 3 * _LEGEND_LINE, margin={"l": 60, "r": 12, "t": 28, "b": 40})
    return figure
