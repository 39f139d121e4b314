"""The parts that pages are put together from: a document that loads nothing, sections, figures, tables, lists."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

import pandas as pd
from plotly.offline import get_plotlyjs

from revgn_lab.report.drawing import Looks, plotly_figure
from revgn_lab.report.panels import Figure, Heatmap, Panel

NOTHING = "\N{EN DASH}"
"""What stands for a missing value."""


def document(title: str, header: str, main: str) -> str:
    """A whole page. Plotly's code, our style sheet and our script are inside, and fonts are the reader's own."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{_shipped("page.css")}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{header}
</header>
<main>
{main}
</main>
<script>
{_shipped("page.js")}</script>
</body>
</html>
"""


def section(name: str, title: str, content: str) -> str:
    """A part of a page, with an anchor."""
    return f'<section id="{name}">\n<h2>{escape(title)}</h2>\n{content}\n</section>'


def paragraphs(texts: Sequence[str]) -> str:
    """One after the other."""
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)


def bullets(sentences: Sequence[str]) -> str:
    """A list of sentences."""
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>\n{items}\n</ul>"


def definitions(values: Mapping[str, str]) -> str:
    """A list of names with their values."""
    rows = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in values.items())
    return f"<dl>\n{rows}\n</dl>"


def table(rows: pd.DataFrame, *, kind: str = "", escaped: bool = True) -> str:
    """A table that scrolls in a box of its own where it is wider than the screen.

    Args:
        rows: cells as text.
        kind: a class of the style sheet.
        escaped: whether the cells are text; otherwise they are HTML already.
    """
    content = rows.to_html(index=False, border=0, justify="unset", na_rep=NOTHING, escape=escaped)
    # pandas marks up borders and alignment in its own way; the style sheet has them already.
    content = content.replace(' style="text-align: unset;"', "")
    return f'<div class="{f"table {kind}".strip()}" tabindex="0">\n{content}\n</div>'


def figure(shown: Figure, looks: Looks | None = None) -> str:
    """A figure with its panels and its caption."""
    drawn = "\n".join(_panel(panel, f"{shown.name}-{index}", looks) for index, panel in enumerate(shown.panels))
    wide = ' class="wide"' if len(shown.panels) > 1 else ""
    return (
        f'<figure id="{shown.name}"{wide}>\n<h3>{escape(shown.title)}</h3>\n<div class="panels">\n{drawn}\n</div>\n'
        f"<figcaption>{escape(shown.caption)}</figcaption>\n</figure>"
    )


def figures(shown: Sequence[Figure], looks: Looks | None = None) -> str:
    """Figures one after the other, those of one panel side by side where there is room."""
    return f'<div class="figures">\n{"".join(figure(each, looks) for each in shown)}\n</div>'


def _panel(panel: Panel | Heatmap, identifier: str, looks: Looks | None) -> str:
    """A place for a plot, and what page.js draws in it."""
    picture = plotly_figure(panel, looks)
    # JSON cannot end the script that it stands in when no "</" is left in it.
    content = str(picture.to_json()).replace("</", "<\\/")
    title = f"<h4>{escape(panel.title)}</h4>\n" if panel.title else ""
    return (
        f'<div class="panel">\n{title}'
        f'<div class="plot" id="{identifier}" style="min-height: {picture.layout.height}px"></div>\n'
        f'<script type="application/json">{content}</script>\n</div>'
    )


def _shipped(name: str) -> str:
    return (resources.files("revgn_lab.report") / name).read_text(encoding="utf-8")
