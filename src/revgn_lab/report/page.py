"""The page on any set of runs: what was found, verdicts, figures and numbers, and the files that go with it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from tqdm import tqdm

from revgn_lab.claims.claim import Claim, load_claims
from revgn_lab.claims.verdicts import Judgement, judge
from revgn_lab.errors import RunError
from revgn_lab.files import write_atomically
from revgn_lab.report.chapters import Chapter, chapters_of, overview
from revgn_lab.report.claims_table import SIGNS, claims_json, matrices, short_number
from revgn_lab.report.collection import SINGLE, Run, collect, metrics_of
from revgn_lab.report.figures.palette import styles
from revgn_lab.report.figures.panels import Figure
from revgn_lab.report.figures.pen import pictures
from revgn_lab.report.figures.studies import STUDIES, is_sweep
from revgn_lab.report.figures.svg import Sheet
from revgn_lab.report.glossary import glossary
from revgn_lab.report.headlines import headlines, values_as_curves
from revgn_lab.report.records import State
from revgn_lab.report.settings import differing_settings, environment_of, shared_settings
from revgn_lab.report.summary import final_numbers
from revgn_lab.runs import folders

PAGE = "index.html"
CLAIMS = "claims.json"
PICTURES = "figures"
DEMO = "demo"
"""The study with a command of its own."""


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
    main = overview(chapters)
    looks = styles(list(dict.fromkeys(run.labels.optimizer for run in runs)))
    write_atomically(out / folders.METRICS, metrics.to_csv(index=False))
    write_atomically(out / CLAIMS, claims_json(claims, judgements))
    figures = [*([main] if main else []), *(figure for chapter in chapters for figure in chapter.figures)]
    for figure in tqdm(figures, desc="pictures", unit="figure", disable=None, dynamic_ncols=True):  # on terminals only
        for end, content in pictures(figure, looks).items():
            write_atomically(out / PICTURES / f"{figure.name}.{end}", content)
    content = {
        "title": chapters[0].title if len(chapters) == 1 else f"Exact Gauss-Newton in {len(chapters)} studies",
        "introduction": _introduction(runs),
        "incomplete": _incomplete(runs),
        "runs": runs,
        "environment": environment_of(runs),
        **_found(chapters, claims, judgements),
        **_explained(chapters, judgements, main),
        "overview": main,
        "chapters": chapters,
        "sheet": Sheet(looks),
        "final_numbers": final_numbers,
        "differing_settings": differing_settings,
        "shared_settings": shared_settings,
        "commands": [*_commands(runs), f"revgn report {' '.join(map(str, places))} --out {out}"],
    }
    # What the page is given is escaped unless the template says otherwise.
    loader = PackageLoader("revgn_lab.report")
    whole = Environment(loader=loader, autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    write_atomically(out / PAGE, whole.get_template("page.html.j2").render(content))
    return out / PAGE


def _found(chapters: Sequence[Chapter], claims: Sequence[Claim], judgements: Sequence[Judgement]) -> dict[str, Any]:
    """What the runs say."""
    told = [chapter for chapter in chapters if not chapter.above]
    frames = [values_as_curves(each.frame) if is_sweep(each.study) else each.frame for each in told]
    return {
        "headlines": headlines(frames, judgements),
        "matrices": matrices(judgements),
        "signs": SIGNS,
        "short_number": short_number,
        "untested": [claim.name for claim in claims if claim not in [each.claim for each in judgements]],
    }


def _explained(chapters: Sequence[Chapter], judgements: Sequence[Judgement], main: Figure | None) -> dict[str, Any]:
    """What the labels of the studies mean, each where it first stands. Runs of no study have names of their own."""
    below = {
        each.name: [word for run in each.runs for word in (run.labels.optimizer, run.labels.setting)]
        for each in chapters
        if each.study in STUDIES
    }
    known = {word for words in below.values() for word in words}
    first = [*main.legend, *(panel.title for panel in main.panels)] if main else []
    tested = [word for each in judgements for word in (each.optimizer, each.setting)]
    explained: dict[str, dict[str, str]] = {}
    for place, words in {"found": first, "claims": tested, **below}.items():
        before = {word for meanings in explained.values() for word in meanings}
        explained[place] = glossary([word for word in words if word in known], before)
    return {"glossary": explained}


def _introduction(runs: Sequence[Run]) -> str:
    """How many runs of what, and how they ended."""
    states = {run.record.folder: run.record.state for run in runs}  # of each once, though studies may share it
    counts = Counter(states.values())
    ended = ", ".join(f"{counts[state]:,} {state.value}" for state in State if counts[state])
    data = ", ".join(dict.fromkeys(run.labels.dataset for run in runs))
    scales = ", ".join(dict.fromkeys(run.labels.scale for run in runs if run.labels.scale))
    at = f" at scale {scales}" if scales else ""
    return f"{len(states):,} runs on {data}{at}: {ended}. All sentences, numbers and verdicts are computed from them."


def _incomplete(runs: Sequence[Run]) -> dict[str, pd.DataFrame | None]:
    """Tables of the runs that did not end as they should, and of those that were not begun; empty if all did."""
    rows = [
        {
            "studies": run.labels.study,
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
    if not rows:
        return {}
    table = pd.DataFrame(rows)
    sharing = [", ".join(dict.fromkeys(own)) for _, own in table.groupby("folder", sort=False)["studies"]]
    table = table.drop_duplicates("folder").assign(studies=sharing)
    waiting = table["state"] == State.MISSING.value
    parts = {"begun": table.loc[~waiting], "waiting": table.loc[waiting]}
    return {name: part if len(part) else None for name, part in parts.items()}


def _commands(runs: Sequence[Run]) -> list[str]:
    """How to make these runs again."""
    seeds: dict[tuple[str, str, str, Path], dict[int, None]] = {}
    for run in runs:
        if run.labels.study != SINGLE:
            data = run.labels.dataset if run.labels.study == DEMO else ""
            seeds.setdefault((run.labels.study, run.labels.scale, data, run.home), {})[run.labels.seed] = None
    single = [run.record.folder for run in runs if run.labels.study == SINGLE]
    return [
        *(
            f"revgn demo --dataset {data} --seeds {' '.join(map(str, own))} --out {home}"
            if study == DEMO
            else f"revgn study {study} --scale {scale} --out {home}"
            for (study, scale, data, home), own in seeds.items()
        ),
        *(f"revgn train {folder / folders.CONFIG} --out {folder} --overwrite" for folder in single),
    ]
