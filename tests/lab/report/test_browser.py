"""Pages as readers have them: in Chromium, on a desktop, on a phone and in print."""

from itertools import product
from pathlib import Path

import pytest

from browsing import WIDTHS, undrawn
from revgn_lab.report import page as report_page
from revgn_lab.report.page import write_report
from study_folders import Runs, diagnosed, every_study, metrics_of_run, settings_of, write_run

pytestmark = pytest.mark.nightly

NAMES = ("_base", "$\\frac$", "<i>GN</i>", "007")
SETTING = "{set}_1 $ #:"
MOST_BYTES = 3e6


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Paths by kind: many studies, the demo, mixed runs with names that look like markup, the committed results."""
    home = tmp_path_factory.mktemp("browser")
    mixed = Runs(home / "a#b:{c}", [])
    for seed in (1, 2, 3):
        for name in NAMES:
            frame = diagnosed(metrics_of_run(0.2, seed), "GN exact", 0.2, seed)
            mixed.add(["a#b", "a:b", "claims"], SETTING, name, seed, frame, settings_of("SGD", 0.1), dataset="d<$>")
    demo = Runs(home / "demo", [])
    for (name, rate), seed, batches in product({"GN": 1.0, "Adam": 0.2, "SGD": 0.1}.items(), (42, 43), (1, 3)):
        frame = diagnosed(metrics_of_run(rate, seed, batches=batches), name, rate, seed)
        demo.add(["demo"], f"{batches} batches", name, seed, frame, settings_of(name, rate, batch_size=batches))
    write_run(home / "run <b>_$x$", {**settings_of("Adam", 0.3), "seed": 1}, metrics_of_run(0.3, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_page, "pictures", lambda figure, looks: {})
        return {
            "studies": write_report([every_study(home / "study")], home / "study"),
            "demo": write_report([demo.write()], home / "demo"),
            "mixed": write_report([mixed.write(), home / "run <b>_$x$"], home / "out"),
            "results": Path(__file__).parents[3] / "results" / "cpu" / "index.html",
        }


@pytest.fixture(params=["studies", "demo", "mixed", "results"])
def path(request, pages):
    return pages[request.param]


def wait_for_layout(tab):
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def is_wider_than_the_screen(tab):
    return tab.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def test_page_is_small_whole_and_asks_for_nothing(open_page, path):
    assert path.stat().st_size < MOST_BYTES
    tab, requests, complaints = open_page(path, WIDTHS[0])
    assert undrawn(tab) == []
    assert tab.locator(".panel svg").count() > 8
    names = tab.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(names) == len(set(names))
    wanted = tab.evaluate("[...document.querySelectorAll('a[href], use')].map(each => each.getAttribute('href'))")
    assert {name.removeprefix("#") for name in wanted} <= set(names)
    assert requests == [path.as_uri()]
    assert complaints == []


def test_what_was_found_comes_first_then_claims_then_chapters(open_page, path):
    tab, _, _ = open_page(path, WIDTHS[0])
    sections = tab.evaluate("[...document.querySelectorAll('main > section')].map(each => each.id)")
    assert sections[0] == "found"
    assert sections[1:].index("claims") == 0 if "claims" in sections else True
    assert sections[-3:] == ["settings", "environment", "repeat"]
    assert 0 < tab.locator("#found li").count() <= 5
    figure = tab.locator("figure").first.bounding_box()
    assert figure["y"] + figure["height"] < WIDTHS[0]
    assert tab.evaluate("document.querySelector('table').getBoundingClientRect().top") > figure["y"]


def test_nothing_but_tables_scrolls_sideways(open_page, path):
    tab, _, _ = open_page(path, WIDTHS[0])
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 800})
        wait_for_layout(tab)
        assert not is_wider_than_the_screen(tab)
        tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        wait_for_layout(tab)
        assert not is_wider_than_the_screen(tab)


def test_print_shows_what_is_folded_away_on_its_sheets(open_page, path):
    tab, _, _ = open_page(path, 794)  # A4
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    wait_for_layout(tab)
    assert tab.locator("details:not([open])").count() == 0
    assert not is_wider_than_the_screen(tab)
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("details[open]").count() == 0
    assert tab.pdf().startswith(b"%PDF")


def test_legend_hides_a_curve_in_all_panels_and_the_pointer_reads_values(open_page, pages):
    tab, _, _ = open_page(pages["studies"], WIDTHS[0])
    figure = tab.locator("figure#full-batch-training-loss-by-step")
    figure.scroll_into_view_if_needed()
    entry = figure.locator(".legend button").nth(2)
    assert entry.inner_text().strip() == "Adam"
    figure.locator(".panel svg").first.hover()
    said = figure.locator("output").first
    assert said.inner_text().startswith("optimizer step ")
    assert "Adam 0." in said.inner_text()
    entry.click()
    assert entry.get_attribute("aria-pressed") == "false"
    hidden = "parts => parts.every(part => part.style.display === 'none')"
    assert figure.locator(".panel [data-series='2']").evaluate_all(hidden)
    assert not figure.locator(".panel [data-series='1']").evaluate_all(hidden)
    figure.locator(".panel svg").first.hover(position={"x": 150, "y": 60})
    assert "Adam" not in said.inner_text()
    assert "SGD" in said.inner_text()


def test_a_claim_opens_to_its_numbers_source_and_rule(open_page, pages):
    tab, _, _ = open_page(pages["studies"], WIDTHS[0])
    claim = tab.locator("tbody[data-claim='full-batch-steps']")
    assert not claim.locator(".facts").is_visible()
    claim.locator("summary").click()
    for text in ("Source: Full Batch", "at least 3 times", "GN exact"):
        assert text in claim.inner_text()


def test_names_are_shown_as_they_are(open_page, pages):
    tab, _, _ = open_page(pages["mixed"], WIDTHS[0])
    figure = tab.locator("figure#overview")
    assert [each.strip() for each in figure.locator(".legend button").all_inner_texts()] == list(NAMES)
    assert SETTING in figure.locator("svg").first.text_content()
    assert tab.locator("i, b").count() == 0
    chapters = tab.evaluate("[...document.querySelectorAll('nav a')].map(each => [each.innerText, each.hash])")
    assert [words for words, _ in chapters][:3] == ["A#b, smoke", "A:b, smoke", "Claims, smoke"]
    assert len({anchor for _, anchor in chapters}) == 4
