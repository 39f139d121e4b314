"""The parts of a page, one for each study: its figures, its numbers, its settings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from revgn_lab.report.collection import Run, metrics_of
from revgn_lab.report.figures.panels import Figure
from revgn_lab.report.figures.studies import by_panel, study_figures, title_of

SECTIONS = ("found", "claims", "incomplete", "settings", "environment", "repeat")
"""Anchors that a page has for itself."""
_OVERVIEW = (("training-loss-by-step", "final-training-loss"), ("test-accuracy", "test-r2", "final-test-accuracy"))
_MOST_PANELS = 2  # of one figure in the overview


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
        name = _anchor(f"{study} {scale if several else ''}", {*SECTIONS, *(chapter.name for chapter in chapters)})
        title = f"{title_of(study)}{f', {scale}' if several and scale else ''}"
        frame = by_panel(metrics_of(own))
        made = study_figures(study, frame, own) if len(frame) else []
        figures = [replace(figure, name=f"{name}-{figure.name}") for figure in made]
        chapters.append(Chapter(name, title, study, own, frame, figures, _above(own, chapters)))
    return chapters


def overview(chapters: Sequence[Chapter]) -> Figure | None:
    """How training and testing went, in one figure: the first settings of the first chapter that tells."""
    told = [main for chapter in chapters if (main := _main_figures(chapter))]
    main = told[0] if told else next((chapter.figures[:2] for chapter in chapters if chapter.figures), [])
    if not main:
        return None
    return Figure(
        name="overview",
        title=" and ".join([main[0].title, *(figure.title.lower() for figure in main[1:])]),
        caption=" ".join(f"{figure.title}: {figure.caption}" for figure in main),
        panels=tuple(panel for figure in main for panel in figure.panels[:_MOST_PANELS]),
    )


def _main_figures(chapter: Chapter) -> list[Figure]:
    named = {figure.name.removeprefix(f"{chapter.name}-"): figure for figure in chapter.figures}
    return [named[found] for names in _OVERVIEW if (found := next((name for name in names if name in named), ""))]


def _anchor(words: str, taken: set[str]) -> str:
    """A name for anchors and files, of letters, digits and hyphens, that no other part of the page has."""
    name = re.sub(r"\W+", "-", words.strip().lower()).strip("-") or "study"
    others = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(other for other in others if other not in taken)


def _above(runs: Sequence[Run], earlier: Sequence[Chapter]) -> list[str]:
    """Titles of the earlier chapters that have some of these runs, if together they have them all."""
    own = {run.record.folder for run in runs}
    shown = {other.title: own & {run.record.folder for run in other.runs} for other in earlier if not other.above}
    return [title for title, folders in shown.items() if folders] if own == set[object]().union(*shown.values()) else []
