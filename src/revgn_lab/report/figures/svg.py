"""Panels as a page holds them: SVG that stands in HTML, and the numbers that a pointer reads off it."""

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from revgn_lab.report.figures.curves import Curve, thinned
from revgn_lab.report.figures.palette import Style
from revgn_lab.report.figures.panels import Figure, Heatmap, Panel
from revgn_lab.report.figures.pen import SIZE, Looks, draw, looks_of, plain, sample

_POINTS = 72  # of SVG, in an inch
_LINK = "{http://www.w3.org/1999/xlink}href"
_ROUNDED = ("d", "x", "y", "transform")
_FAR = re.compile(r"-?\d+\.\d{2,}")
_FONT = re.compile(r"font-family: [^;]*; |font: [\d.]+px [^;]*; ")  # a page has one of its own
_SERIES = "series-"


@dataclass(frozen=True)
class Picture:
    """A panel of a page.

    Attributes:
        svg: as it stands in HTML.
        readout: where its axes lie and what its curves are at each x, for page.js; None for a heat map.
    """

    svg: str
    readout: dict[str, Any] | None


def pictures_for_page(figure: Figure, looks: Looks | None = None) -> list[Picture]:
    """A picture for each panel. The parts of a curve have its place in the legend as `data-series`."""
    chosen = looks_of(figure, looks)
    with plain():
        return [_picture(figure, index, chosen) for index in range(len(figure.panels))]


def sample_svg(style: Style, name: str) -> str:
    """What stands before names in legends, to be used by its own name wherever it does."""
    with plain():
        canvas = Canvas(figsize=(0.5, 0.18))
        line = sample(style)
        line.set_data([0.12, 0.5, 0.88], [0.5, 0.5, 0.5])
        line.set(markevery=[1], transform=canvas.transFigure)
        canvas.add_artist(line)
        return _svg(canvas, f"{name}-", {"id": name})


def _picture(figure: Figure, index: int, looks: Looks) -> Picture:
    panel = figure.panels[index]
    canvas = Canvas(figsize=SIZE, layout="constrained")
    axes = canvas.add_subplot()
    axes.patch.set_visible(False)
    draw(axes, panel, looks)
    label = ": ".join(filter(None, (figure.title, panel.title)))
    svg = _svg(canvas, f"{figure.name}-{index}-", {"role": "img", "aria-label": label})
    return Picture(svg, None if isinstance(panel, Heatmap) else _readout(axes, panel, looks))


def _svg(canvas: Canvas, prefix: str, attributes: Mapping[str, str]) -> str:
    """The picture without what a page has already, and with names that no other picture on the page has."""
    buffer = io.StringIO()
    canvas.patch.set_visible(False)
    canvas.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", buffer.getvalue()))
    used = dict.fromkeys(re.findall(r"[\"(]#([\w-]+)[\")]", buffer.getvalue()))
    names = {name: f"{prefix}{index}" for index, name in enumerate(used)}
    for parent in list(root.iter()):
        parent.tag = parent.tag.rpartition("}")[2]
        for child in [each for each in parent if each.tag.rpartition("}")[2] in ("metadata", "style")]:
            parent.remove(child)
        parent.attrib = dict(_attributes(parent.attrib.items(), names))
        parent.text, parent.tail = (text if text and text.strip() else None for text in (parent.text, parent.tail))
    root.attrib = {"viewBox": root.attrib["viewBox"], **attributes}
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(items: Iterable[tuple[str, str]], names: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for name, value in items:
        if name == "id":
            if value.startswith(_SERIES):
                yield "data-series", value.removeprefix(_SERIES)
            elif value in names:
                yield "id", names[value]
        elif name == _LINK:
            yield "href", f"#{names[value[1:]]}"
        elif name == "clip-path":
            yield name, f"url(#{names[value[5:-1]]})"
        elif name in _ROUNDED and not value.startswith("rotate(-0 "):
            yield name, _FAR.sub(lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), " ".join(value.split()))
        elif name not in _ROUNDED:
            yield name, _FONT.sub("", value)


def _readout(axes: Axes, panel: Panel, looks: Looks) -> dict[str, Any]:
    place = axes.get_position()
    width, height = SIZE[0] * _POINTS, SIZE[1] * _POINTS
    corners = (place.x0 * width, (1 - place.y1) * height, place.x1 * width, (1 - place.y0) * height)
    names = list(looks)
    return {
        "box": [round(corner, 1) for corner in corners],
        "x": list(map(float, axes.get_xlim())),
        "log": panel.log_x,
        "label": panel.x_label,
        "words": dict(panel.ticks),
        "curves": [_values(thinned(curve), names.index(curve.name)) for curve in panel.curves],
    }


def _values(curve: Curve, series: int) -> dict[str, Any]:
    return {
        "series": series,
        "x": [float(f"{x:.5g}") for x in curve.x],
        "y": [float(f"{y:.3g}") for y in curve.mean],
    }
