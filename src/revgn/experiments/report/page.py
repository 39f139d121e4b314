"""One self-contained HTML page of a set of runs: what they say, their figures, numbers and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

import pandas as pd
from plotly.offline import get_plotlyjs

from revgn.experiments.report.drawing import plotly_figure
from revgn.experiments.report.figures import Figure, Panel, figures
from revgn.experiments.report.summary import final_numbers, findings


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
        _section("findings", "What the runs say", _findings(frame)),
        _section("figures", "Figures", "\n".join(_figure(figure) for figure in figures(frame))),
        _section("numbers", "Final numbers", f"<p>{_NUMBERS}</p>\n{_table(final_numbers(frame))}"),
        _section("settings", "Settings", _settings(about.settings)),
        _section("environment", "Environment", _definitions(about.environment)),
        _section("repeat", "How to repeat this", f"<pre>{escape(chr(10).join(about.commands))}</pre>"),
    ]
    introduction = "\n".join(f"<p>{escape(paragraph)}</p>" for paragraph in about.introduction)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(about.title)}</title>
<style>
{_style_sheet()}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<header>
<h1>{escape(about.title)}</h1>
{introduction}
</header>
<main>
{chr(10).join(sections)}
</main>
</body>
</html>
"""


_NUMBERS = (
    "Mean over seeds (smallest to largest); for training losses the geometric mean, for defects the worst. Training "
    "loss is the mean over the last epoch, each taken before its step."
)
_PLOT_OPTIONS = {"responsive": True, "displaylogo": False, "displayModeBar": "hover"}


def _style_sheet() -> str:
    return (resources.files("revgn.experiments.report") / "page.css").read_text(encoding="utf-8")


def _section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}">\n<h2>{escape(title)}</h2>\n{content}\n</section>'


def _findings(frame: pd.DataFrame) -> str:
    return "\n".join(
        f"<h3>{escape(setting)}</h3>\n<ul>\n{_items(sentences)}\n</ul>"
        for setting, sentences in findings(frame).items()
    )


def _items(sentences: Sequence[str]) -> str:
    return "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)


def _figure(figure: Figure) -> str:
    panels = "\n".join(_panel(panel, f"{figure.name}-{index}") for index, panel in enumerate(figure.panels))
    return (
        f'<figure id="{figure.name}">\n<h3>{escape(figure.title)}</h3>\n<div class="panels">\n{panels}\n</div>\n'
        f"<figcaption>{escape(figure.caption)}</figcaption>\n</figure>"
    )


def _panel(panel: Panel, identifier: str) -> str:
    # With an identifier of ours, because plotly's own is another one each time.
    picture = plotly_figure(panel).to_html(
        full_html=False, include_plotlyjs=False, div_id=identifier, config=_PLOT_OPTIONS, default_height="380px"
    )
    return f'<div class="panel">\n<h4>{escape(panel.title)}</h4>\n{picture}\n</div>'


def _table(rows: pd.DataFrame) -> str:
    """A table that scrolls in a box of its own where it is wider than the screen."""
    # pandas marks up borders and alignment in its own way; the style sheet has them already.
    table = rows.to_html(index=False, border=0, justify="unset", na_rep="–").replace(' style="text-align: unset;"', "")  # noqa: RUF001
    return f'<div class="table" tabindex="0">\n{table}\n</div>'


def _settings(settings: pd.DataFrame) -> str:
    """What differs between the runs as a table, what they share as a list."""
    shared = [name for name in settings if settings[name].nunique() == 1] if len(settings) > 1 else []
    common = {str(name): str(settings[name].iloc[0]) for name in shared}
    return f"{_table(settings.drop(columns=shared))}\n{_definitions(common)}"


def _definitions(values: Mapping[str, str]) -> str:
    rows = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in values.items())
    return f"<dl>\n{rows}\n</dl>"
