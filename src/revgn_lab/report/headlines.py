"""What was found, in a few lines; every word follows from the data."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from revgn_lab.claims.verdicts import Judgement, Verdict
from revgn_lab.report.summary import TARGET_LOSS, geometric_mean, summarize

MOST = 5
"""Lines."""


@dataclass(frozen=True)
class Headline:
    """A line: what it is about, such as a setting, or nothing where it is about all; and what it says."""

    about: str
    says: str


def headlines(frames: Sequence[pd.DataFrame], judgements: Sequence[Judgement]) -> list[Headline]:
    """Verdicts counted, runs that diverged, and what each of the first settings ended with; `MOST` lines at most.

    Args:
        frames: metrics of each chapter, with what is to be compared in the column optimizer.
        judgements: verdicts on claims.
    """
    summaries = [summarize(frame) for frame in frames if len(frame)]
    whole = [Headline("", line) for line in (_verdicts(judgements), _failures(summaries)) if line]
    settings = [line for summary in summaries for line in _settings(summary)]
    return list(dict.fromkeys([*whole, *settings]))[:MOST]


def values_as_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """The metrics of a sweep with a setting for each optimizer, in which its own settings are compared."""
    return frame.assign(setting=frame["optimizer"], optimizer=frame["setting"])


def _verdicts(judgements: Sequence[Judgement]) -> str:
    if not judgements:
        return ""
    claims = len({judgement.claim.name for judgement in judgements})
    counts = Counter(judgement.verdict for judgement in judgements)
    counted = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    return f"Verdicts on {claims} {'claim' if claims == 1 else 'claims'}, wherever they were tested: {counted}."


def _failures(summaries: Sequence[pd.DataFrame]) -> str:
    failed = [summary.loc[summary["loss"].isna(), "optimizer"] for summary in summaries]
    counts = Counter(str(name) for names in failed for name in names)
    said = ", ".join(f"{number} {'run' if number == 1 else 'runs'} of {name}" for name, number in counts.items())
    return f"Ended without a finite loss: {said}." if said else ""


def _settings(summary: pd.DataFrame) -> Iterator[Headline]:
    for setting, runs in summary.groupby("setting", sort=False):
        losses = _means(runs, "loss", geometric_mean)
        furthest = min(losses, key=lambda name: losses[name], default="")
        said = [
            _trained(runs, losses, furthest) if furthest else "",
            _tested(_means(runs, "test_accuracy", pd.Series.mean), furthest, "{:.1f} %"),
            _tested(_means(runs, "test_r2", pd.Series.mean), furthest, "R2 {:.3f}"),
        ]
        if any(said):
            yield Headline(str(setting), " ".join(filter(None, said)))


def _means(runs: pd.DataFrame, column: str, mean: Callable[[pd.Series], float]) -> dict[str, float]:
    """Over the seeds of each optimizer that have a value."""
    known = runs.dropna(subset=column).groupby("optimizer", sort=False)
    return {str(name): float(mean(own[column])) for name, own in known}


def _trained(runs: pd.DataFrame, losses: Mapping[str, float], furthest: str) -> str:
    """Which optimizer ends at the lowest training loss, how soon it was at the target, and who comes next."""
    steps = runs.loc[runs["optimizer"] == furthest, "target_steps"]
    words = [] if steps.isna().any() else [f"below {TARGET_LOSS:g} after {steps.mean():,.0f} steps"]
    following = sorted((loss, name) for name, loss in losses.items() if name != furthest)[:1]
    words += [f"next {name}, {loss:.2g}" for loss, name in following]
    beside = f" ({'; '.join(words)})" if words else ""
    return f"{furthest} trains furthest, to a loss of {losses[furthest]:.2g}{beside}."


def _tested(means: Mapping[str, float], furthest: str, form: str) -> str:
    """Which optimizer does best on test rows, beside the one that trained furthest, or else the next."""
    if not means:
        return ""
    best, *others = sorted(means, key=lambda name: -means[name])
    beside = furthest if furthest in others else next(iter(others), "")
    compared = f" ({beside}: {form.format(means[beside])})" if beside else ""
    return f"Best on test rows is {best} with {form.format(means[best])}{compared}."
