"""The report on any set of runs: one page with verdicts, figures and numbers, and the files that go with it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import pandas as pd

from revgn._files import write_atomically
from revgn.experiments import folders
from revgn.experiments.claims import load_claims
from revgn.experiments.errors import RunError
from revgn.experiments.report import html
from revgn.experiments.report.claims_table import claims_json, claims_section
from revgn.experiments.report.collection import SINGLE, Run, collect, metrics_of
from revgn.experiments.report.drawing import Looks
from revgn.experiments.report.page import ending, numbers, said
from revgn.experiments.report.palette import styles
from revgn.experiments.report.panels import Figure
from revgn.experiments.report.printing import matplotlib_figure, saved
from revgn.experiments.report.records import Record, State
from revgn.experiments.report.representations import likeness
from revgn.experiments.report.settings import differing_settings, environment_of, shared_settings
from revgn.experiments.report.studies import by_panel, study_figures, title_of
from revgn.experiments.verdicts import judge

PAGE = "index.html"
CLAIMS = "claims.json"
PICTURES = "figures"
_IN_WORDS = ("full-batch", "mini-batch", SINGLE)  # studies of few panels, of which sentences can be read


@dataclass(frozen=True, eq=False)
class Chapter:
    """The part of a page on one study at one scale.

    Attributes:
        name: of its anchor and its files.
        title: of its section.
        study: its name.
        runs: all of it.
        frame: metrics of those that have ended, with a setting for each panel.
        figures: drawn of them.
    """

    name: str
    title: str
    study: str
    runs: Sequence[Run]
    frame: pd.DataFrame
    figures: Sequence[Figure]


def write_report(places: Sequence[Path], out: Path) -> Path:
    """Write what these runs say: index.html, metrics.csv, claims.json, and each figure as PNG and PDF in figures/.

    Args:
        places: folders of studies, of runs, or of folders of these.
        out: folder for the report; may be that of a study.

    Returns:
        The page's path.

    Raises:
        RunError: a folder holds no runs, or what it holds is not what it should be.
        OSError: the folder cannot be written to.
    """
    if (out / folders.CONFIG).is_file():
        raise RunError(
            f"{out} is the folder of a run, which has a {folders.METRICS} of its own; name another with --out"
        )
    runs = collect(places)
    metrics = metrics_of(runs)
    claims = load_claims()
    judgements = judge(metrics, claims)
    chapters = _chapters(runs)
    looks = styles(list(dict.fromkeys(run.labels.optimizer for run in runs)))
    write_atomically(out / folders.METRICS, metrics.to_csv(index=False))
    write_atomically(out / CLAIMS, claims_json(claims, judgements))
    for figure in (figure for chapter in chapters for figure in chapter.figures):
        _write_pictures(figure, out / PICTURES, looks)
    commands = [*_commands(runs), f"revgn report {' '.join(map(str, places))} --out {out}"]
    page = _page(runs, chapters, claims_section(claims, judgements), commands, looks)
    write_atomically(out / PAGE, page)
    return out / PAGE


def _chapters(runs: Sequence[Run]) -> list[Chapter]:
    """One for each study and scale, in the order of the runs."""
    keys = list(dict.fromkeys((run.labels.study, run.labels.scale) for run in runs))
    scales = {scale for _, scale in keys}
    return [
        _chapter(
            study,
            scale if len(scales) > 1 else "",
            [run for run in runs if (run.labels.study, run.labels.scale) == (study, scale)],
        )
        for study, scale in keys
    ]


def _chapter(study: str, scale: str, runs: Sequence[Run]) -> Chapter:
    name = re.sub(r"\W+", "-", f"{study} {scale}".strip().lower())
    frame = by_panel(metrics_of(runs))
    made = study_figures(study, frame, by_panel(likeness(runs))) if len(frame) else []
    figures = [replace(figure, name=f"{name}-{figure.name}") for figure in made]
    return Chapter(name, f"{title_of(study)}{f', {scale}' if scale else ''}", study, runs, frame, figures)


def _write_pictures(figure: Figure, folder: Path, looks: Looks) -> None:
    drawn = matplotlib_figure(figure, looks)
    write_atomically(folder / f"{figure.name}.png", saved(drawn, "png"))
    write_atomically(folder / f"{figure.name}.pdf", saved(drawn, "pdf"))


def _page(runs: Sequence[Run], chapters: Sequence[Chapter], claims: str, commands: Sequence[str], looks: Looks) -> str:
    shared = shared_settings(runs)
    incomplete = _incomplete(runs)
    sections = [
        html.section("claims", "Claims", claims) if claims else "",
        html.section("incomplete", "Runs that are not complete", incomplete) if incomplete else "",
        *(_chapter_section(chapter, set(shared), looks) for chapter in chapters),
        html.section("settings", "Settings that all runs share", html.definitions(shared)),
        *ending(environment_of(runs), commands),
    ]
    links = [f'<a href="#{chapter.name}">{escape(chapter.title)}</a>' for chapter in chapters]
    header = f"{html.paragraphs([_introduction(runs)])}\n<nav>{' '.join(links)}</nav>"
    return html.document(_title(chapters), header, "\n".join(filter(None, sections)))


def _title(chapters: Sequence[Chapter]) -> str:
    return chapters[0].title if len(chapters) == 1 else f"Exact Gauss-Newton in {len(chapters)} studies"


def _introduction(runs: Sequence[Run]) -> str:
    """How many runs of what, and how they ended."""
    records = _records(runs)
    counts = Counter(record.state for record in records)
    ended = ", ".join(f"{counts[state]:,} {state.value}" for state in State if counts[state])
    data = ", ".join(dict.fromkeys(run.labels.dataset for run in runs))
    scales = ", ".join(dict.fromkeys(run.labels.scale for run in runs if run.labels.scale))
    at = f" at scale {scales}" if scales else ""
    return f"{len(records):,} runs on {data}{at}: {ended}. All sentences, numbers and verdicts are computed from them."


def _records(runs: Sequence[Run]) -> list[Record]:
    """Each run once, whatever the number of studies that share it."""
    return list({run.record.folder: run.record for run in runs}.values())


def _incomplete(runs: Sequence[Run]) -> str:
    """A table of the runs that did not end as they should, if there are any."""
    rows = [
        {
            "study": run.labels.study,
            "data": run.labels.dataset,
            "setting": run.labels.setting,
            "curve": run.labels.optimizer,
            "seed": run.labels.seed,
            "state": run.record.state.value,
            "reason": run.record.reason,
            "folder": run.record.folder,
        }
        for run in runs
        if run.record.state is not State.COMPLETE
    ]
    explanation = "Figures, numbers and verdicts have what diverged runs did before; the others are missing there."
    return f"{html.paragraphs([explanation])}\n{html.table(pd.DataFrame(rows), kind='wrapped')}" if rows else ""


def _chapter_section(chapter: Chapter, shared: set[str], looks: Looks) -> str:
    parts = [html.figure(figure, looks) for figure in chapter.figures]
    if chapter.study in _IN_WORDS and len(chapter.frame):
        parts.insert(0, said(chapter.frame))
    if len(chapter.frame):
        parts.append(f"<h3>Final numbers</h3>\n{numbers(chapter.frame)}")
    own = {name: value for name, value in shared_settings(chapter.runs).items() if name not in shared}
    settings = f"{html.table(differing_settings(chapter.runs))}\n{html.definitions(own)}"
    parts.append(f"<details>\n<summary>Settings</summary>\n{settings}\n</details>")
    return html.section(chapter.name, chapter.title, "\n".join(parts))


def _commands(runs: Sequence[Run]) -> list[str]:
    """How to make these runs again."""
    studies = dict.fromkeys(
        (run.labels.study, run.labels.scale, run.home) for run in runs if run.labels.study != SINGLE
    )
    single = [run.record.folder for run in runs if run.labels.study == SINGLE]
    return [
        *(f"revgn study {study} --scale {scale} --out {home}" for study, scale, home in studies),
        *(f"revgn train {folder / folders.CONFIG} --out {folder} --overwrite" for folder in single),
    ]
