import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from revgn_lab.report.figures.catalogue import DEFECT, FLOAT32_EXACT, LOSS
from revgn_lab.report.figures.courses import with_derived
from revgn_lab.report.figures.curves import MOST_POINTS, Curve, thinned
from revgn_lab.report.figures.palette import styles
from revgn_lab.report.figures.panels import Figure, Heatmap, Line, Panel
from revgn_lab.report.figures.pen import drawing, pictures, plain
from revgn_lab.report.figures.studies import study_figures
from revgn_lab.report.figures.svg import Sheet
from synthetic import OPTIMIZERS, metrics

FIGURE = LOSS.figure(with_derived(metrics()))
NAMES = ("_base", "$\\frac$", "a $x_1$ #b", "<i>GN</i>", "{set}:1", "007", "10%", "x^2 & \\alpha")


def curve(name, points=3, **parts):
    x = np.arange(1.0, points + 1)
    return replace(Curve(name, x, x, x - 0.5, x + 0.5, 3), **parts)


def figure_of(*curves, **parts):
    return Figure("made", "title", "", (replace(Panel("panel", "x", "y", False, curves), **parts),))


def series(svg):
    return [part.get("data-series") for part in ElementTree.fromstring(svg).iter("g") if part.get("data-series")]


def words(svg):
    return ["".join(part.itertext()) for part in ElementTree.fromstring(svg).iter("text")]


def test_print_and_page_show_the_same_curves():
    drawn = drawing(FIGURE).axes
    page = Sheet({}).pictures(FIGURE)
    for panel, axes, picture in zip(FIGURE.panels, drawn, page, strict=True):
        assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == (panel.title, panel.x_label, panel.y_label)
        assert axes.get_yscale() == "log"
        assert {panel.title, panel.x_label, panel.y_label} <= set(words(picture.svg))
        for own, line, read in zip(panel.curves, axes.lines, picture.readout["curves"], strict=True):
            np.testing.assert_allclose(line.get_ydata(), own.mean)
            np.testing.assert_allclose(read["y"], own.mean, rtol=5e-3)
            np.testing.assert_allclose(read["x"], own.x)


def test_a_line_its_band_and_its_bars_are_hidden_together_by_a_legend_that_has_all_notes():
    both = figure_of(curve("Adam", error=np.ones(3)), curve("SGD", seeds=1))
    (picture,) = Sheet({}).pictures(both)
    assert series(picture.svg).count("0") >= 3
    assert series(picture.svg).count("1") == 1  # one seed has no band
    assert list(both.legend) == ["Adam", "SGD"]
    one, other = (figure_of(curve("GN", note=note)) for note in ("slope 1", "slope 2"))
    assert replace(one, panels=one.panels + other.panels).legend == {"GN": "GN (slope 1, slope 2)"}


def test_pictures_of_a_page_share_no_identifiers_and_have_what_they_refer_to():
    sheet = Sheet({})
    svg = "".join(picture.svg for figure in (FIGURE, FIGURE) for picture in sheet.pictures(figure))
    assert sheet.samples(FIGURE) == sheet.samples(FIGURE)
    svg += "".join(sheet.drawn_samples())
    names = re.findall(r' id="([^"]+)"', svg)
    assert len(names) == len(set(names))
    assert set(re.findall(r"#([\w-]+)", svg)) <= set(names)
    classes = set(re.findall(r'class="([^"]+)"', svg))
    assert classes == set(re.findall(r"^\.(\w+) {", sheet.rules(), flags=re.MULTILINE))


@pytest.mark.parametrize("log", [False, True])
def test_names_are_shown_as_they_are(log):
    labels = {"title": NAMES[1], "x_label": NAMES[2], "y_label": NAMES[3], "line": Line(1.0, NAMES[0])}
    shown = figure_of(*map(curve, NAMES), log=log, **labels)
    assert pictures(shown)["png"].startswith(b"\x89PNG")
    with plain():
        (legend,) = drawing(shown).legends
    assert tuple(text.get_text() for text in legend.get_texts()) == NAMES
    assert not any(text.get_parse_math() for text in legend.get_texts())
    (picture,) = Sheet({}).pictures(shown)
    assert set(NAMES[:4]) <= set(words(picture.svg))


def test_names_of_heat_maps_and_values_are_shown_as_they_are():
    heat_map = Heatmap("$t$", list(NAMES), np.eye(len(NAMES)), "CKA")
    ticks = figure_of(curve("Adam"), ticks=tuple((float(place), name) for place, name in enumerate(NAMES)))
    for shown, others in ((Figure("made", "t", "", (heat_map,)), {"$t$", "1.00", "0.00"}), (ticks, set())):
        (picture,) = Sheet({}).pictures(shown)
        assert {*NAMES, *others} <= set(words(picture.svg))


def test_defect_is_compared_with_the_limit_of_exact():
    (axes, *_) = drawing(DEFECT.figure(with_derived(metrics()))).axes
    assert axes.lines[-1].get_ydata()[0] == FLOAT32_EXACT
    assert axes.texts[0].get_text() == "exact up to here"


def test_steps_and_epochs_are_counted_in_whole_numbers():
    for figure in study_figures("demo", metrics(), []):
        for axes in drawing(figure).axes if figure.name != "training-loss-by-seconds" else ():
            assert all(tick % 1 == 0 for tick in axes.get_xticks())


@pytest.mark.parametrize(("high", "labels"), [(1.2, 3), (20.0, 4), (1e4, 3), (1e13, 5)])
def test_logarithmic_axes_have_labels_whatever_their_length(high, labels):
    spread = np.array([high, 1.0, 1.0])
    shown = figure_of(curve("Adam", mean=spread, low=spread, high=spread), log=True)
    (picture,) = Sheet({}).pictures(shown)
    above = [word for word in words(picture.svg) if re.fullmatch(r"10[⁻⁰-⁹¹²³]+|\d[\d.]*", word)]
    assert labels <= len(above) - 3  # those of the x axis
    assert len(above) < 15


def test_long_curves_are_thinned_and_keep_ends_and_extremes():
    x = np.arange(10_007.0)
    full = Curve("Adam", x, x, x - x % 7, x + x % 5, 3, error=x)
    short = thinned(full)
    assert len(short.x) == len(short.error) == MOST_POINTS
    assert short.x[-1] == full.x[-1]
    assert set(short.mean) <= set(full.mean)
    assert (short.low.min(), short.high.max()) == (full.low.min(), full.high.max())
    assert thinned(curve("Adam", MOST_POINTS)).x.size == MOST_POINTS
    (picture,) = Sheet({}).pictures(figure_of(full))
    assert len(picture.readout["curves"][0]["x"]) == MOST_POINTS


def test_an_optimizer_looks_the_same_whatever_is_beside_it_unless_looks_are_given():
    looks = styles(["GN exact", "GN as released", "Adam", "SGD"])
    assert styles(["Adam", "GN as released"]) == {name: looks[name] for name in ("Adam", "GN as released")}
    assert looks["GN exact"] == styles(["GaussNewton"])["GaussNewton"]
    given = dict.fromkeys(OPTIMIZERS, looks["SGD"])
    assert {line.get_color() for line in drawing(FIGURE, given).axes[0].lines} == {looks["SGD"].colour}


@pytest.mark.parametrize(
    "names",
    [
        ("GaussNewton", "Adam", "a new one", "SGD", "another"),
        ("GN exact", "GN as released", "Adam", "SGD", "GN last block", "J^+ (dense)"),
        tuple(f"optimizer {index}" for index in range(40)),
    ],
    ids=len,
)
def test_names_differ_in_colour_dash_and_marker_as_long_as_there_are_some(names):
    looks = styles(names).values()
    assert len(set(looks)) == len(names)
    for part in ("colour", "dash", "marker"):
        assert len({getattr(style, part) for style in looks}) >= 5, part
