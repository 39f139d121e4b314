"""Figures of what a swept setting does to the end of training, such as the learning rate or the size of the batches.

Settings carry the swept value in their names ("lr 0.1", "batch 64", "full batch"). Numbers with the same words before
them make up one panel over those numbers; settings without a number stand beside them.
"""

import math
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from revgn_lab.report.figures.courses import courses
from revgn_lab.report.figures.curves import Curve, over_seeds
from revgn_lab.report.figures.panels import Panel, Specification
from revgn_lab.report.summary import summarize

_NUMBER = re.compile(r"^(?P<words>.*?)[\s=]*(?P<number>\d[\d,]*\.?\d*(?:e[+-]?\d+)?)\s*(?P<unit>%?)$", re.IGNORECASE)


def swept_value(setting: str) -> tuple[str, float]:
    """The words of a setting and the number after them; NaN if there is none."""
    found = _NUMBER.match(setting)
    return (found["words"], float(found["number"].replace(",", ""))) if found else (setting, math.nan)


def by_value(frame: pd.DataFrame, shown: Specification) -> tuple[Panel, ...]:
    """What is reached in the end, over the swept setting."""
    known = summarize(frame).dropna(subset=shown.column)
    return tuple(_panel(known, settings, words, shown) for words, settings in _sweeps(known).items())


def by_setting(frame: pd.DataFrame, shown: Specification) -> tuple[Panel, ...]:
    """What is reached in the end, settings side by side, a panel for what stands before the comma in their names."""
    known = summarize(frame).dropna(subset=shown.column)
    groups = known.groupby(known["setting"].astype(str).str.split(", ").str[0], sort=False)
    return tuple(_setting_panel(str(name), group, shown) for name, group in groups)


def value_courses(frame: pd.DataFrame, shown: Specification) -> tuple[Panel, ...]:
    """The course of training, a panel for each optimizer (and data set) with a line for each swept value."""
    parts = frame["setting"].astype(str).str.rpartition(", ")  # what stands before a comma, the comma, the rest
    panel = (parts[0] + parts[1]).str.cat(frame["optimizer"].astype(str))
    return courses(frame.assign(setting=panel, optimizer=parts[2]), shown)


def _sweeps(summary: pd.DataFrame) -> dict[str, list[str]]:
    """The settings of each panel, in their order, by the words that their numbers have in common."""
    settings = [str(setting) for setting in summary["setting"].unique()]
    words = dict.fromkeys(swept_value(setting)[0] for setting in settings if not _is_bare(setting))
    beside = {each: [setting for setting in settings if _belongs(setting, each)] for each in words}
    return beside or ({"": settings} if settings else {})


def _belongs(setting: str, words: str) -> bool:
    """Whether the setting has these words before its number, or no number and the same data set before it, if any."""
    if _is_bare(setting):
        return _data(setting) == _data(words)
    return swept_value(setting)[0] == words


def _is_bare(setting: str) -> bool:
    return math.isnan(swept_value(setting)[1])


def _data(setting: str) -> str:
    """The data set, which stands before a comma where there are several; see `catalogue.by_panel`."""
    return setting.rpartition(", ")[0]


def _panel(summary: pd.DataFrame, settings: Sequence[str], words: str, shown: Specification) -> Panel:
    values = [swept_value(setting)[1] for setting in settings]
    numeric = all(value > 0 for value in values)  # neither zeros nor names, which have no place on a logarithmic axis
    at = dict(zip(settings, values if numeric else range(len(settings)), strict=True))
    ticks = () if numeric else tuple((float(place), _tick(setting, words)) for setting, place in at.items())
    curves = _curves(summary.loc[summary["setting"].isin(settings)], at, shown)
    return Panel("", words or "setting", shown.label, shown.log, curves, log_x=numeric, ticks=ticks)


def _setting_panel(name: str, summary: pd.DataFrame, shown: Specification) -> Panel:
    at = {str(setting): place for place, setting in enumerate(summary["setting"].unique())}
    ticks = tuple((float(place), setting.removeprefix(f"{name}, ")) for setting, place in at.items())
    return Panel(name, "", shown.label, shown.log, _curves(summary, at, shown), ticks=ticks)


def _tick(setting: str, words: str) -> str:
    """What stands below a value: the number alone, as its words are the axis title already."""
    return setting.removeprefix(words).strip(" =") if swept_value(setting)[0] == words else setting


def _curves(runs: pd.DataFrame, at: Mapping[str, float], shown: Specification) -> tuple[Curve, ...]:
    """Of each optimizer over the settings' places; seeds as one."""
    placed = runs.assign(place=runs["setting"].map(at).astype(float)).groupby("optimizer", sort=False)
    tables = {str(name): own.pivot_table(index="place", columns="seed", values=shown.column) for name, own in placed}
    return tuple(over_seeds(name, table, log=shown.log) for name, table in tables.items())
