"""Claims with their verdicts, for readers and for programs."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from revgn_lab.claims.claim import Claim
from revgn_lab.claims.evidence import Evidence
from revgn_lab.claims.verdicts import Judgement, Verdict
from revgn_lab.report.figures.studies import title_of
from revgn_lab.report.summary import NOTHING

MOST_COLUMNS = 8
"""Of a table; a setting with more has one of its own."""
SIGNS = {Verdict.REPRODUCED: "\N{CHECK MARK}", Verdict.NOT_REPRODUCED: "\N{BALLOT X}", Verdict.INCONCLUSIVE: "?"}
"""For a glance."""

Place = tuple[str, str, str]
"""Scale, data set and setting."""


@dataclass(frozen=True)
class Row:
    """A claim with its verdict in each column, None where it was not tested, and what these were made of.

    Optimizers about which all is the same stand together in `facts`, beside the place, the number and the verdict.
    """

    claim: Claim
    cells: Sequence[Judgement | None]
    facts: Sequence[tuple[str, str, str, str]]


@dataclass(frozen=True)
class Matrix:
    """Claims beside places: a topic, the optimizers below each setting, and a row for each claim."""

    title: str
    columns: Sequence[tuple[str, Sequence[str]]]
    rows: Sequence[Row]


def matrices(judgements: Sequence[Judgement]) -> list[Matrix]:
    """The claims that these runs are about: a table for each topic, or several where there are many places."""
    topics: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        topics.setdefault(judgement.claim.study, []).append(judgement)
    return [_matrix(title_of(study), part) for study, all_of_it in topics.items() for part in _parts(all_of_it)]


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


def short_number(judgement: Judgement) -> str:
    """A number with its unit alone."""
    value = judgement.evidence.value
    return NOTHING if math.isnan(value) else judgement.claim.with_unit(_rounded(value))


def number(claim: Claim, evidence: Evidence) -> str:
    """A number with its unit and its interval."""
    if math.isnan(evidence.value):
        return NOTHING
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


def _parts(judgements: Sequence[Judgement]) -> Iterator[list[Judgement]]:
    """As many places together as a table has room for."""
    part: list[Judgement] = []
    for place in dict.fromkeys(map(_place, judgements)):
        added = [*part, *(each for each in judgements if _place(each) == place)]
        if part and len({(_place(each), each.optimizer) for each in added}) > MOST_COLUMNS:
            yield part
            added = added[len(part) :]
        part = added
    yield part


def _matrix(title: str, judgements: Sequence[Judgement]) -> Matrix:
    places = list(dict.fromkeys(map(_place, judgements)))
    optimizers = {
        place: list(dict.fromkeys(each.optimizer for each in judgements if _place(each) == place)) for place in places
    }
    common = [parts[0] if len(set(parts)) == 1 else "" for parts in zip(*places, strict=True)]
    labels = {
        place: ", ".join(part for part, shared in zip(place, common, strict=True) if part and not shared) or "all runs"
        for place in places
    }
    rows: list[Row] = []
    for claim in {each.claim.name: each.claim for each in judgements}.values():
        own = [each for each in judgements if each.claim.name == claim.name]
        found = {(_place(each), each.optimizer): each for each in own}
        cells = [found.get((place, name)) for place in places for name in optimizers[place]]
        rows.append(Row(claim, cells, _facts(own)))
    where = ", ".join(filter(None, (common[1], common[2], common[0])))
    columns = [(labels[place] if len(places) > 1 else "", optimizers[place]) for place in places]
    return Matrix(f"{title}{f' ({where})' if where else ''}", columns, rows)


def _place(judgement: Judgement) -> Place:
    return judgement.scale, judgement.dataset, judgement.setting


def _facts(judgements: Sequence[Judgement]) -> list[tuple[str, str, str, str]]:
    same: dict[tuple[str, str, str], list[str]] = {}
    for each in judgements:
        where = ", ".join(text for text in (each.dataset, each.setting, each.scale) if text)
        reason = "; ".join(dict.fromkeys(text for text in (each.reason, each.evidence.note) if text))
        verdict = f"{each.verdict.value}: {reason}" if reason else each.verdict.value
        same.setdefault((where, number(each.claim, each.evidence), verdict), []).append(each.optimizer)
    return [(where, ", ".join(names), found, verdict) for (where, found, verdict), names in same.items()]


def _as_dict(judgement: Judgement) -> dict[str, Any]:
    evidence = {
        name: value if isinstance(value, str) or math.isfinite(value) else None
        for name, value in asdict(judgement.evidence).items()
    }
    where = {name: getattr(judgement, name) for name in ("scale", "dataset", "setting", "optimizer")}
    return {**where, **evidence, "verdict": judgement.verdict.value, "reason": judgement.reason}
