import dataclasses
import re

import pandas as pd
import pytest

from browsing import WIDTHS, undrawn
from revgn_lab.report.figures import figures
from revgn_lab.report.page import About, page
from synthetic import FULL, metrics

ABOUT = About(
    title="Runs & <b>tests</b>",
    introduction=("Some sentence.",),
    settings=pd.DataFrame([{"setting": FULL, "optimizer": "Adam", "learning rate": "0.003"}]),
    environment={"Python": "3.12.1"},
    commands=("revgn demo", "revgn train a.yaml"),
)
FRAME = metrics()
PANELS = sum(len(figure.panels) for figure in figures(FRAME))


def without_scripts(html):
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def test_page_says_what_the_data_say():
    one, other = page(FRAME, ABOUT), page(metrics(rates=(0.1, 1.0, 0.2)), ABOUT)
    assert "GaussNewton reached it after 7 steps" in one
    assert "GaussNewton reached it after 7 steps" not in other
    assert "Adam reached it after 7 steps" in other


def test_page_is_the_same_for_the_same_data():
    assert page(FRAME, ABOUT) == page(metrics(), ABOUT)


def test_page_names_settings_environment_and_commands():
    html = without_scripts(page(FRAME, ABOUT))
    for text in ("<td>0.003</td>", "<dd>3.12.1</dd>", "revgn demo\nrevgn train a.yaml", '<html lang="en">', "viewport"):
        assert text in html


def test_page_escapes_what_it_is_given():
    assert "Runs &amp; &lt;b&gt;tests&lt;/b&gt;" in page(FRAME, ABOUT)


def test_page_loads_nothing():
    html = without_scripts(page(FRAME, ABOUT))
    assert re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]*)""", html) == ["data:,"]
    assert not re.search(r"@import|url\(", html)
    assert not re.findall(r"<script[^>]+src=", page(FRAME, ABOUT))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page(FRAME, ABOUT), encoding="utf-8")
    return path


@pytest.fixture(params=WIDTHS, ids=["desktop", "phone"])
def opened(request, open_page, path):
    """The page in a browser without network, with what it requested and what it complained about."""
    return open_page(path, request.param)


def test_browser_draws_every_figure_and_asks_for_nothing_else(opened, path):
    tab, requests, complaints = opened
    assert tab.locator(".js-plotly-plot").count() == PANELS
    assert undrawn(tab) == []
    assert requests == [path.as_uri()]
    assert complaints == []


def test_page_is_no_wider_than_the_screen(opened):
    tab, _, _ = opened
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_click_in_the_legend_hides_a_line_and_its_band(opened):
    tab, _, _ = opened
    plot = tab.locator("#training-loss-by-step-0")
    visible = plot.locator(".scatterlayer .trace")
    before = visible.count()
    plot.locator(".legendtoggle").first.click()
    tab.wait_for_function(
        "count => document.querySelectorAll('#training-loss-by-step-0 .scatterlayer .trace').length == count",
        arg=before - 2,
    )


def test_settings_that_all_runs_share_stand_once_and_the_others_by_run():
    settings = pd.DataFrame({"optimizer": ["Adam", "SGD"], "data": ["digits", "digits"]})
    html = page(FRAME, dataclasses.replace(ABOUT, settings=settings))
    assert html.count("<dt>data</dt><dd>digits</dd>") == 1
    assert "<td>Adam</td>" in html
    assert "<td>digits</td>" not in html
