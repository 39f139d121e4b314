"""The report on any set of runs: one page with verdicts, figures and numbers, and the files that go with it."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from revgn_lab.claims.claim import load_claims
from revgn_lab.claims.verdicts import judge
from revgn_lab.errors import RunError
from revgn_lab.files import write_atomically
from revgn_lab.report import html
from revgn_lab.report.chapters import Chapter, chapter_section, chapters_of
from revgn_lab.report.claims_table import claims_json, claims_section
from revgn_lab.report.collection import SINGLE, Run, collect, metrics_of
from revgn_lab.report.drawing import Looks
from revgn_lab.report.page import ending
from revgn_lab.report.palette import styles
from revgn_lab.report.panels import Figure
from revgn_lab.report.printing import pictures
from revgn_lab.report.records import Record, State
from revgn_lab.report.settings import environment_of, shared_settings
from revgn_lab.runs import folders

PAGE = "index.html"
CLAIMS = "claims.json"
PICTURES = "figures"
_INCOMPLETE = "Figures, numbers and verdicts have what diverged runs did before; the others are missing there."


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
    chapters = chapters_of(runs)
    looks = styles(list(dict.fromkeys(run.labels.optimizer for run in runs)))
    write_atomically(out / folders.METRICS, metrics.to_csv(index=False))
    write_atomically(out / CLAIMS, claims_json(claims, judgements))
    figures = [figure for chapter in chapters for figure in chapter.figures]
    shown = tqdm(figures, desc="pictures", unit="figure", disable=None, dynamic_ncols=True)  # None: on terminals only
    for figure in shown:
        _write_pictures(figure, out / PICTURES, looks)
    commands = [*_commands(runs), f"revgn report {' '.join(map(str, places))} --out {out}"]
    page = _page(runs, chapters, claims_section(claims, judgements), commands, looks)
    write_atomically(out / PAGE, page)
    return out / PAGE


def _write_pictures(figure: Figure, folder: Path, looks: Looks) -> None:
    for end, content in pictures(figure, looks).items():
        write_atomically(folder / f"{figure.name}.{end}", content)


def _page(runs: Sequence[Run], chapters: Sequence[Chapter], claims: str, commands: Sequence[str], looks: Looks) -> str:
    shared = shared_settings(runs)
    incomplete = _incomplete(runs)
    sections = [
        html.section("claims", "Claims", claims) if claims else "",
        html.section("incomplete", "Runs that are not complete", incomplete) if incomplete else "",
        *(chapter_section(chapter, set(shared), looks) for chapter in chapters),
        html.section("settings", "Settings that all runs share, as far as they have them", html.definitions(shared)),
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
    """Tables of the runs that did not end as they should, if there are any, and of those that were not begun."""
    rows = _described([run for run in runs if run.record.state is not State.COMPLETE])
    if rows.empty:
        return ""
    begun = rows.loc[rows["state"] != State.MISSING.value]
    waiting = rows.loc[rows["state"] == State.MISSING.value]
    parts = [html.paragraphs([_INCOMPLETE])]
    parts += [html.table(begun, kind="wrapped")] if len(begun) else []
    if len(waiting):
        table = html.table(waiting, kind="wrapped")
        parts.append(f"<details>\n<summary>{len(waiting):,} not started</summary>\n{table}\n</details>")
    return "\n".join(parts)


def _described(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each run, with all studies that share it."""
    by_folder: dict[Path, list[Run]] = {}
    for run in runs:
        by_folder.setdefault(run.record.folder, []).append(run)
    rows = [
        {
            "studies": ", ".join(dict.fromkeys(run.labels.study for run in same)),
            "data": same[0].labels.dataset,
            "setting": same[0].labels.setting,
            "curve": same[0].labels.optimizer,
            "seed": same[0].labels.seed,
            "state": same[0].record.state.value,
            "reason": same[0].record.reason,
            "folder": folder,
        }
        for folder, same in by_folder.items()
    ]
    return pd.DataFrame(rows)


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
