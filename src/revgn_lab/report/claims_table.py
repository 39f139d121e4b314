"""Claims with their verdicts, for readers and for programs."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from revgn_lab.claims.claim import Claim
from revgn_lab.claims.evidence import Evidence
from revgn_lab.claims.verdicts import Judgement, Verdict
from revgn_lab.report import html

_ICONS = {Verdict.REPRODUCED: "\N{CHECK MARK}", Verdict.NOT_REPRODUCED: "\N{BALLOT X}", Verdict.INCONCLUSIVE: "?"}
_INTRODUCTION = (
    "Each verdict follows from the metrics of the runs alone. Numbers are means over seeds with 95 % intervals; "
    "reproduced is what holds on the whole interval, not reproduced what holds nowhere on it. With fewer than three "
    "seeds, or an interval to both sides of the threshold, a claim stays inconclusive."
)


def claims_section(claims: Sequence[Claim], judgements: Sequence[Judgement]) -> str:
    """The claims that these runs are about with their verdicts as a table, and the others by name."""
    tested = [claim for claim in claims if any(judgement.claim is claim for judgement in judgements)]
    if not tested:
        return ""
    bodies = [_body(claim, [judgement for judgement in judgements if judgement.claim is claim]) for claim in tested]
    untested = [claim for claim in claims if claim not in tested]
    rest = [f"Not tested by these runs: {', '.join(claim.name for claim in untested)}."] if untested else []
    return "\n".join(
        [
            html.paragraphs([_counted(judgements), _INTRODUCTION]),
            '<table class="claims">',
            "<thead><tr><th>claim</th><th>where</th><th>optimizer</th><th>number</th><th>verdict</th></tr></thead>",
            *bodies,
            "</table>",
            html.paragraphs(rest),
        ]
    )


def claims_json(claims: Sequence[Claim], judgements: Sequence[Judgement]) -> str:
    """The same as JSON, with all claims; numbers that are not finite are null."""
    entries = [
        {
            **asdict(claim),
            "statistic_says": claim.says,
            "verdicts": [_as_dict(judgement) for judgement in judgements if judgement.claim is claim],
        }
        for claim in claims
    ]
    return json.dumps(entries, indent=2, allow_nan=False) + "\n"


def number(claim: Claim, evidence: Evidence) -> str:
    """A number with its unit and its interval."""
    if math.isnan(evidence.value):
        return html.NOTHING
    said = claim.with_unit(_rounded(evidence.value))
    known = ""
    if math.isfinite(evidence.low):
        known = f"{_rounded(evidence.low)} to {_rounded(evidence.high)}, "
        known = f"at least {_rounded(evidence.low)}, " if math.isinf(evidence.high) else known
    return f"{said} ({known}{evidence.seeds} {'seed' if evidence.seeds == 1 else 'seeds'})"


def _rounded(value: float) -> str:
    if math.isinf(value):
        return "infinite"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _counted(judgements: Sequence[Judgement]) -> str:
    counts = Counter(judgement.verdict for judgement in judgements)
    return f"Verdicts: {', '.join(f'{counts[verdict]} {verdict.value}' for verdict in Verdict)}."


def _body(claim: Claim, judgements: Sequence[Judgement]) -> str:
    """The rows of one claim, which stands once beside all of them."""
    about = (
        f'<td class="claim" rowspan="{len(judgements)}"><strong>{escape(claim.claim)}</strong>\n'
        f"<small>Source: {escape(claim.source)}.</small>\n"
        f"<small>Decided by: {escape(claim.says)}; {escape(claim.condition)}.</small></td>"
    )
    rows = [f"<tr>{about if first else ''}{_cells(judgement)}</tr>" for first, judgement in _with_first(judgements)]
    return f'<tbody id="claim-{escape(claim.name)}">\n' + "\n".join(rows) + "\n</tbody>"


def _with_first(judgements: Sequence[Judgement]) -> list[tuple[bool, Judgement]]:
    return [(index == 0, judgement) for index, judgement in enumerate(judgements)]


def _cells(judgement: Judgement) -> str:
    verdict = judgement.verdict
    where = ", ".join(text for text in (judgement.dataset, judgement.setting, judgement.scale) if text)
    reason = "; ".join(dict.fromkeys(text for text in (judgement.reason, judgement.evidence.note) if text))
    why = f"<small>{escape(reason)}</small>" if reason else ""
    kind = verdict.name.lower().replace("_", "-")
    icon = f'<span aria-hidden="true">{_ICONS[verdict]}</span>'
    return (
        f"<td>{escape(where)}</td><td>{escape(judgement.optimizer)}</td>"
        f"<td>{escape(number(judgement.claim, judgement.evidence))}</td>"
        f'<td><span class="verdict {kind}">{icon} {verdict.value}</span>{why}</td>'
    )


def _as_dict(judgement: Judgement) -> dict[str, Any]:
    evidence = {
        name: value if isinstance(value, str) or math.isfinite(value) else None
        for name, value in asdict(judgement.evidence).items()
    }
    return {
        "scale": judgement.scale,
        "dataset": judgement.dataset,
        "setting": judgement.setting,
        "optimizer": judgement.optimizer,
        **evidence,
        "verdict": judgement.verdict.value,
        "reason": judgement.reason,
    }
