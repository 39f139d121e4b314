"""The page of one set of runs: what they say, their figures, numbers and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from revgn_lab.report import html
from revgn_lab.report.figures import figures
from revgn_lab.report.summary import final_numbers, findings

NUMBERS = (
    "Mean over seeds (smallest to largest); for training losses the geometric mean, for defects the worst. Training "
    "loss is the mean over the last epoch, each taken before its step."
)


@dataclass(frozen=True)
class About:
    """What a page says beside its data.

    Attributes:
        title: of the page.
        introduction: paragraphs on what was run.
        settings: a row for each kind of run.
        environment: what it ran on, by name.
        commands: how to repeat it, a line each.
    """

    title: str
    introduction: Sequence[str]
    settings: pd.DataFrame
    environment: Mapping[str, str]
    commands: Sequence[str]


def page(frame: pd.DataFrame, about: About) -> str:
    """The page as HTML. It loads nothing: plotly's code is inside, and fonts are the reader's own.

    Args:
        frame: metrics, one row per step, with columns setting, optimizer and seed.
        about: what the data do not say.
    """
    sections = [
        html.section("findings", "What the runs say", said(frame)),
        html.section("figures", "Figures", html.figures(figures(frame))),
        html.section("numbers", "Final numbers", numbers(frame)),
        html.section("settings", "Settings", settings(about.settings)),
        *ending(about.environment, about.commands),
    ]
    return html.document(about.title, html.paragraphs(about.introduction), "\n".join(sections))


def said(frame: pd.DataFrame) -> str:
    """What the runs of each setting say, in sentences."""
    return "\n".join(
        f"<h3>{escape(setting)}</h3>\n{html.bullets(sentences)}" for setting, sentences in findings(frame).items()
    )


def numbers(frame: pd.DataFrame) -> str:
    """The final numbers as a table."""
    return f"{html.paragraphs([NUMBERS])}\n{html.table(final_numbers(frame))}"


def settings(rows: pd.DataFrame) -> str:
    """What differs between the runs as a table, what they share as a list."""
    shared = [name for name in rows if rows[name].nunique() == 1] if len(rows) > 1 else []
    common = {str(name): str(rows[name].iloc[0]) for name in shared}
    return f"{html.table(rows.drop(columns=shared))}\n{html.definitions(common)}"


def ending(environment: Mapping[str, str], commands: Sequence[str]) -> list[str]:
    """The sections that every page ends with: what it ran on, and how to repeat it."""
    return [
        html.section("environment", "Environment", html.definitions(environment)),
        html.section("repeat", "How to repeat this", f"<pre>{escape(chr(10).join(commands))}</pre>"),
    ]
