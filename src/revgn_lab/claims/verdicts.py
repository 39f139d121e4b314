"""What runs say about claims: reproduced, not reproduced, or inconclusive."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import pandas as pd

from revgn_lab.claims.claim import Claim
from revgn_lab.claims.evidence import Evidence
from revgn_lab.claims.statistics import STATISTICS

FEWEST_SEEDS = 3


class Verdict(str, Enum):
    """What the data say about a claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Judgement:
    """The verdict on a claim for one optimizer, in one setting, on one data set.

    Attributes:
        claim: which.
        scale, dataset, setting: of the runs; the setting is empty where all were taken together.
        optimizer: label of the one that it is about.
        evidence: the number, its interval and the seeds.
        verdict: what follows.
        reason: why, if it is inconclusive.
    """

    claim: Claim
    scale: str
    dataset: str
    setting: str
    optimizer: str
    evidence: Evidence
    verdict: Verdict
    reason: str = ""


def judge(metrics: pd.DataFrame, claims: Sequence[Claim]) -> list[Judgement]:
    """The verdict on each claim, wherever these runs are about it.

    Args:
        metrics: one row per step, with the columns of a run's metrics.csv after study, dataset, setting, optimizer and
            seed (and scale, where there are several); such as a report's metrics.csv as pandas reads it.
        claims: see `load_claims`.
    """
    frame = metrics.assign(scale=metrics["scale"].fillna("") if "scale" in metrics else "")
    return [judgement for claim in claims for judgement in _judge(frame.loc[frame["study"] == claim.study], claim)]


def decide(evidence: Evidence, claim: Claim) -> tuple[Verdict, str]:
    """The verdict that follows from a number and its interval, and the reason if it is inconclusive."""
    if evidence.seeds == 0 or math.isnan(evidence.value):
        beside = f", and of {' or '.join(claim.against)} with the same one" if claim.against else ""
        return Verdict.INCONCLUSIVE, evidence.note or f"no seed of it has ended with what this needs{beside}"
    if evidence.seeds < FEWEST_SEEDS:
        return Verdict.INCONCLUSIVE, f"{evidence.seeds} of the {FEWEST_SEEDS} seeds that a verdict needs"
    below, above = evidence.high <= claim.threshold, evidence.low >= claim.threshold
    if below == above:  # it lies on the threshold, or to both sides of it
        return Verdict.INCONCLUSIVE, "the interval over seeds includes the threshold"
    return (Verdict.REPRODUCED if above == claim.at_least else Verdict.NOT_REPRODUCED), ""


def _judge(runs: pd.DataFrame, claim: Claim) -> Iterator[Judgement]:
    statistic = STATISTICS[claim.statistic]
    runs = runs.loc[runs["setting"].isin(claim.settings)] if claim.settings else runs
    keys = ["scale", "dataset"] if statistic.pooled else ["scale", "dataset", "setting"]
    for _, group in runs.groupby(keys, sort=False):
        present = [str(name) for name in group["optimizer"].unique()]
        against = [name for name in claim.against if name in present]
        about = [name for name in claim.of or present if name in present and name not in claim.against]
        for optimizer in about:
            evidence = statistic.function(group, optimizer, against, **claim.arguments)
            scale, dataset, setting = (str(group[name].iloc[0]) for name in ("scale", "dataset", "setting"))
            where = (scale, dataset, "" if statistic.pooled else setting, optimizer)
            yield Judgement(claim, *where, evidence, *decide(evidence, claim))
