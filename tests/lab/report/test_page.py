import io
import json
import re

import pandas as pd
import pytest
from matplotlib.image import imread

from revgn_lab.claims.verdicts import Verdict
from revgn_lab.cli import main
from revgn_lab.errors import RunError
from revgn_lab.report import page as report_page
from revgn_lab.report.figures import pen
from revgn_lab.report.page import write_report
from study_folders import Runs, diagnosed, every_study, metrics_of_run, settings_of, write_run

STUDIES = ("full-batch", "ntk", "cka", "exactness", "theorem", "learning-rate", "regression")


def text_of(page):
    """The page without its scripts."""
    return re.sub(r"<script.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def section(html, name):
    (found,) = re.findall(rf'<section id="{name}">.*?</section>', html, flags=re.DOTALL)
    return found


@pytest.fixture(scope="module")
def no_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_page, "pictures", lambda figure, looks: {})
        yield


@pytest.fixture(scope="module")
def reported(tmp_path_factory, no_pictures):
    """The report on a folder with several studies and with runs that did not end well."""
    home = every_study(tmp_path_factory.mktemp("reported") / "study")
    table = pd.read_csv(home / "runs.tsv", sep="\t")
    table = table[table["study"].isin(STUDIES)]
    troubled = [{**table.iloc[0], "optimizer": "SGD", "seed": seed, "folder": f"runs/{seed}"} for seed in (97, 98, 99)]
    pd.concat([table, pd.DataFrame(troubled)]).to_csv(home / "runs.tsv", sep="\t", index=False)
    write_run(home / "runs" / "98", settings_of("SGD", 9.0), metrics_of_run(0.1, 98), diverged="the loss is <inf>")
    write_run(home / "runs" / "99", settings_of("SGD", 9.9), None)
    assert write_report([home], home) == home / "index.html"
    return home


@pytest.fixture(scope="module")
def html(reported):
    return text_of(reported / "index.html")


@pytest.fixture(scope="module")
def claims(reported):
    """The claims file, which must be strict JSON."""
    return json.loads((reported / "claims.json").read_text(), parse_constant=pytest.fail)


def test_page_shows_each_verdict_of_the_claims_file_with_its_numbers(claims, html):
    verdicts = [each["verdict"] for claim in claims for each in claim["verdicts"]]
    counted = ", ".join(f"{verdicts.count(verdict.value)} {verdict.value}" for verdict in Verdict)
    assert f"wherever they were tested: {counted}." in html
    assert all(html.count(f'<span class="word">{verdict}</span>') == verdicts.count(verdict) for verdict in verdicts)
    assert {"name", "claim", "source", "study", "threshold", "verdicts"} <= set(claims[0])
    for claim in claims:
        assert (f'<tbody data-claim="{claim["name"]}">' in html) == bool(claim["verdicts"])
    (body,) = re.findall(r'<tbody data-claim="full-batch-steps">.*?</details>', html, flags=re.DOTALL)
    for shown in (
        "Gauss-Newton trains far faster",
        "Source: Full Batch: &#39;Gauss-Newton trains extremely quickly&#39;",
        "at least 3 times",
        r"<td>GN exact</td><td>[\d.]+ times \(at least [\d.]+, 3 seeds\)</td>",
        r'>\N{CHECK MARK}</span> <span class="word">reproduced</span> <span class="number">[\d.]+ times<',
    ):
        assert re.search(shown, body), shown


def test_runs_that_did_not_end_well_are_listed(html):
    listed = section(html, "incomplete")
    assert [listed.count(f"runs/{seed}") for seed in (97, 98, 99)] == [1, 1, 1]
    for text in ("<td>diverged</td>", "the loss is &lt;inf&gt;", "<td>not finished</td>", "<summary>1 not started<"):
        assert text in listed
    assert "1 diverged, 1 not finished, 1 not started" in html


def test_metrics_file_holds_all_runs_that_ended_and_each_study_has_a_chapter_with_its_figures(reported, html):
    frame = pd.read_csv(reported / "metrics.csv", low_memory=False)
    assert list(frame.columns[:6]) == ["study", "scale", "dataset", "setting", "optimizer", "seed"]
    assert set(frame[frame["study"] == "full-batch"]["seed"]) == {42, 43, 44, 98}
    assert frame["rank_2g"].notna().any()
    for study in STUDIES:
        assert f'<a href="#{study}">' in html
        assert f'<figure id="{study}-' in section(html, study)


def test_numbers_of_shared_runs_stand_once(html):
    assert "Final numbers" in section(html, "ntk")  # it has the mini-batch runs too, which come after it
    assert "Final numbers" not in section(html, "cka")
    above = "Numbers and settings of these runs are above: Full batch, The neural tangent kernel."
    assert above in section(html, "cka")


def test_page_tells_settings_how_to_repeat_and_what_it_ran_on(html):
    assert "<dt>model.hidden_features</dt><dd>2000</dd>" in section(html, "settings")
    for text in ("<th>optimizer.lr</th>", "<td>42, 43, 44</td>"):  # those that differ
        assert text in section(html, "learning-rate")
    assert re.search(r"revgn study theorem --scale smoke --out \S*/study", html)
    assert "revgn report" in html
    assert "<dt>torch</dt><dd>2.13.0</dd>" in section(html, "environment")
    assert "a processor, 2 cores" in html


def test_labels_are_explained_once_where_they_first_stand(html):
    assert html.count("<strong>GN exact:</strong>") == html.count("<strong>J^+ (dense):</strong>") == 1
    assert html.index("<strong>GN exact:</strong>") < html.index('<section id="claims">')
    assert html.index("<strong>J^+ (dense):</strong>") > html.index('<section id="theorem">')
    assert "<strong>Adam:</strong>" not in html


def small_study(home, seeds=(1,), study="of my own", change=lambda frame, seed: frame):
    runs = Runs(home, [])
    for seed in seeds:
        frame = change(metrics_of_run(0.2, seed), seed)
        runs.add([study], "full batch", "Adam", seed, frame, settings_of("Adam", 0.1))
    return runs.write()


def test_figures_are_written_for_papers_and_are_the_same_for_the_same_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(report_page, "pictures", pen.pictures)
    home = small_study(tmp_path / "study", (1, 2), "ntk", lambda frame, seed: diagnosed(frame, "Adam", 0.2, seed))
    out = tmp_path / "out"
    write_report([home], out)
    pictures = {path.name: path.read_bytes() for path in (out / "figures").iterdir()}
    names = ("overview", "ntk-ntk-similarity", "ntk-ntk-change")
    assert set(pictures) == {f"{name}.{end}" for name in names for end in ("png", "pdf")}
    for name, content in pictures.items():
        assert content.startswith(b"%PDF") if name.endswith("pdf") else imread(io.BytesIO(content)).shape[1] > 500
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    write_report([home], out)
    assert {path: path.read_bytes() for path in before} == before


def test_page_of_one_study_shows_no_figure_twice_and_no_claims_that_it_does_not_test(tmp_path, no_pictures):
    html = text_of(write_report([small_study(tmp_path)], tmp_path))
    shown = re.findall(r'<figure id="([^"]+)"', html)
    assert shown[0] == "overview"
    assert "of-my-own-training-loss-by-seconds" in shown
    assert not {"of-my-own-training-loss-by-step", "of-my-own-test-accuracy"} & set(shown)
    assert "<nav>" not in html
    assert '<section id="claims">' not in html
    assert all(claim["verdicts"] == [] for claim in json.loads((tmp_path / "claims.json").read_text()))


def test_study_of_which_nothing_has_ended_is_listed_and_not_an_error(tmp_path):
    home = small_study(tmp_path, seeds=(1, 2))
    for path in (home / "runs").glob("*/results.json"):
        path.unlink()
    assert "2 runs on digits at scale smoke: 2 not finished." in text_of(write_report([home], home))


def test_report_does_not_overwrite_the_metrics_of_a_run(tmp_path):
    write_run(tmp_path / "run", settings_of("Adam", 0.1), metrics_of_run(0.2, 1))
    before = (tmp_path / "run" / "metrics.csv").read_bytes()
    with pytest.raises(RunError, match=r"is the folder of a run, which has a .* of its own; name another"):
        write_report([tmp_path / "run"], tmp_path / "run")
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == before


def test_command_writes_into_the_study_or_into_a_folder_of_its_own(tmp_path, monkeypatch, capsys, no_pictures):
    monkeypatch.chdir(tmp_path)
    small_study(tmp_path / "study")
    for seed in (1, 2):
        write_run(tmp_path / f"{seed}", {**settings_of("SGD", 0.1), "seed": seed}, metrics_of_run(0.2, seed))
    assert main(["report", "study"]) == 0
    assert capsys.readouterr().out == "Open study/index.html in a browser.\n"
    assert main(["report", "study", "1", "2"]) == 0
    assert "Exact Gauss-Newton in 2 studies" in text_of(tmp_path / "runs" / "report" / "index.html")
    assert main(["report", "1", "--out", "there"]) == 0
    assert "revgn report 1 --out there" in text_of(tmp_path / "there" / "index.html")
