"""Panels as a page holds them: SVG that stands in HTML, and the numbers that a pointer reads off it."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from revgn_lab.report.figures.curves import thinned
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


class Sheet:
    """The pictures of one page: their parts have numbers of their own, and they share their styles.

    Args:
        looks: of the curves by name.
    """

    def __init__(self, looks: Looks) -> None:
        self.looks = looks
        self._styles: dict[str, str] = {}
        self._samples: dict[Style, str] = {}
        self._count = 0

    def pictures(self, figure: Figure) -> list[Picture]:
        """One for each panel. The parts of a curve have its place in the legend as `data-series`."""
        looks = looks_of(figure, self.looks)
        with plain():
            return [self._picture(figure.title, panel, looks) for panel in figure.panels]

    def samples(self, figure: Figure) -> list[str]:
        """What stands before the names in its legend: identifiers of pictures in `drawn_samples`."""
        looks = looks_of(figure, self.looks)
        return [self._samples.setdefault(looks[name], f"sample-{len(self._samples)}") for name in figure.legend]

    def drawn_samples(self) -> list[str]:
        """Pictures of all samples so far, to be used by their identifiers."""
        with plain():
            return [self._sample(style, name) for style, name in self._samples.items()]

    def rules(self) -> str:
        """The style sheet of all pictures so far."""
        return "\n".join(f".{name} {{ {style} }}" for style, name in self._styles.items())

    def _picture(self, title: str, panel: Panel | Heatmap, looks: Looks) -> Picture:
        canvas = Canvas(figsize=SIZE, layout="constrained")
        axes = canvas.add_subplot()
        axes.patch.set_visible(False)
        draw(axes, panel, looks)
        label = ": ".join(filter(None, (title, panel.title)))
        svg = self._svg(canvas, {"role": "img", "aria-label": label})
        return Picture(svg, None if isinstance(panel, Heatmap) else _readout(axes, panel, looks))

    def _sample(self, style: Style, name: str) -> str:
        canvas = Canvas(figsize=(0.6, 0.18))
        line = sample(style)
        line.set_data([0.02, 0.5, 0.98], [0.5, 0.5, 0.5])
        line.set(markersize=5, markevery=[1], transform=canvas.transFigure)
        canvas.add_artist(line)
        return self._svg(canvas, {"id": name})

    def _svg(self, canvas: Canvas, attributes: Mapping[str, str]) -> str:
        """The picture without what a page has already."""
        buffer = io.StringIO()
        canvas.patch.set_visible(False)
        canvas.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", buffer.getvalue()))
        used = dict.fromkeys(re.findall(r"[\"(]#([\w-]+)[\")]", buffer.getvalue()))
        names = {name: f"p{self._count + index}" for index, name in enumerate(used)}
        self._count += len(names)
        for parent in list(root.iter()):
            parent.tag = parent.tag.rpartition("}")[2]
            for child in [each for each in parent if each.tag.rpartition("}")[2] in ("metadata", "style")]:
                parent.remove(child)
            parent.attrib = dict(self._attributes(parent.attrib.items(), names))
            parent.text, parent.tail = (text if text and text.strip() else None for text in (parent.text, parent.tail))
        root.attrib = {"viewBox": root.attrib["viewBox"], **attributes}
        return ElementTree.tostring(root, encoding="unicode")

    def _attributes(self, items: Iterable[tuple[str, str]], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Those that a page needs, with rounded coordinates, and a class for each style."""
        for name, value in items:
            if name == "id" and value.startswith(_SERIES):
                yield "data-series", value.removeprefix(_SERIES)
            elif name == "id" and value in names:
                yield "id", names[value]
            elif name == _LINK:
                yield "href", f"#{names[value[1:]]}"
            elif name == "clip-path":
                yield name, f"url(#{names[value[5:-1]]})"
            elif name == "style":
                style = _FONT.sub("", value)
                yield "class", self._styles.setdefault(style, f"s{len(self._styles)}")
            elif name in _ROUNDED and not value.startswith("rotate(-0 "):
                yield (
                    name,
                    _FAR.sub(lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), " ".join(value.split())),
                )
            elif name in ("viewBox", "width", "height"):
                yield name, value


def _readout(axes: Axes, panel: Panel, looks: Looks) -> dict[str, Any]:
    place = axes.get_position()
    width, height = SIZE[0] * _POINTS, SIZE[1] * _POINTS
    corners = (place.x0 * width, (1 - place.y1) * height, place.x1 * width, (1 - place.y0) * height)
    names = list(looks)
    curves = [
        {
            "series": names.index(curve.name),
            "x": [float(f"{x:.5g}") for x in curve.x],
            "y": [float(f"{y:.3g}") for y in curve.mean],
        }
        for curve in map(thinned, panel.curves)
    ]
    return {
        "box": [round(corner, 1) for corner in corners],
        "x": list(map(float, axes.get_xlim())),
        "log": panel.log_x,
        "label": panel.x_label,
        "words": dict(panel.ticks),
        "curves": curves,
    }
