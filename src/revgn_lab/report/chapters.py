"""The parts of a page, one for each study: its figures, its numbers, its settings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from revgn_lab.report import html
from revgn_lab.report.collection import SINGLE, Run, metrics_of
from revgn_lab.report.drawing import Looks
from revgn_lab.report.page import numbers, said
from revgn_lab.report.panels import Figure
from revgn_lab.report.settings import differing_settings, shared_settings
from revgn_lab.report.studies import by_panel, study_figures, title_of

_IN_WORDS = ("full-batch", "mini-batch", SINGLE)  # studies of few panels, of which sentences can be read


@dataclass(frozen=True, eq=False)
class Chapter:
    """The part of a page on one study at one scale.

    Attributes:
        name: of its anchor, and the beginning of its figures' names.
        title: of its section.
        study: its name.
        runs: all of it.
        frame: metrics of those that have ended, with a setting for each panel.
        figures: drawn of them.
        above: titles of earlier chapters, if they have all of its runs.
    """

    name: str
    title: str
    study: str
    runs: Sequence[Run]
    frame: pd.DataFrame
    figures: Sequence[Figure]
    above: Sequence[str] = ()


def chapters_of(runs: Sequence[Run]) -> list[Chapter]:
    """One for each study and scale, in the order of the runs."""
    keys = list(dict.fromkeys((run.labels.study, run.labels.scale) for run in runs))
    several = len({scale for _, scale in keys}) > 1
    chapters: list[Chapter] = []
    for study, scale in keys:
        own = [run for run in runs if (run.labels.study, run.labels.scale) == (study, scale)]
        chapter = _chapter(study, scale if several else "", own)
        chapters.append(replace(chapter, above=_above(chapter, chapters)))
    return chapters


def chapter_section(chapter: Chapter, shared: set[str], looks: Looks) -> str:
    """The chapter as HTML.

    Args:
        chapter: to show.
        shared: settings that stand elsewhere, as all runs of the page have them.
        looks: styles by optimizer.
    """
    parts = [html.figures(chapter.figures, looks)] if chapter.figures else []
    if chapter.study in _IN_WORDS and len(chapter.frame):
        parts.insert(0, said(chapter.frame))
    if chapter.above:
        parts.append(html.paragraphs([f"Numbers and settings of these runs are above: {', '.join(chapter.above)}."]))
    else:
        parts.append(_numbers_and_settings(chapter, shared))
    return html.section(chapter.name, chapter.title, "\n".join(parts))


def _chapter(study: str, scale: str, runs: Sequence[Run]) -> Chapter:
    name = re.sub(r"\W+", "-", f"{study} {scale}".strip().lower())
    frame = by_panel(metrics_of(runs))
    made = study_figures(study, frame, runs) if len(frame) else []
    figures = [replace(figure, name=f"{name}-{figure.name}") for figure in made]
    return Chapter(name, f"{title_of(study)}{f', {scale}' if scale else ''}", study, runs, frame, figures)


def _above(chapter: Chapter, earlier: Sequence[Chapter]) -> list[str]:
    """Titles of the earlier chapters that have runs of this one, if together they have them all."""
    own = {run.record.folder for run in chapter.runs}
    shown = {other.title: own & {run.record.folder for run in other.runs} for other in earlier if not other.above}
    return [title for title, folders in shown.items() if folders] if own == set[object]().union(*shown.values()) else []


def _numbers_and_settings(chapter: Chapter, shared: set[str]) -> str:
    table = f"<h3>Final numbers</h3>\n{numbers(chapter.frame)}\n" if len(chapter.frame) else ""
    own = {name: value for name, value in shared_settings(chapter.runs).items() if name not in shared}
    settings = f"{html.table(differing_settings(chapter.runs))}\n{html.definitions(own)}"
    return f"{table}<details>\n<summary>Settings</summary>\n{settings}\n</details>"
