"""Figures of what a swept setting does to the end of training, such as the learning rate or the size of the batches.

Settings carry the swept value in their names ("lr 0.1", "batch 64", "full batch"). Numbers with the same words before
them make up one panel over those numbers; settings without a number stand beside them.
"""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from revgn_lab.report.curves import SMALLEST, Curve
from revgn_lab.report.figures import LOG_SPREAD, SPREAD, accuracy_by_epoch, loss_by_step
from revgn_lab.report.panels import Figure, Panel
from revgn_lab.report.summary import summarize

_NUMBER = re.compile(r"^(?P<words>.*?)[\s=]*(?P<number>\d[\d,]*\.?\d*(?:e[+-]?\d+)?)\s*(?P<unit>%?)$", re.IGNORECASE)


def swept_value(setting: str) -> tuple[str, float]:
    """The words of a setting and the number after them; NaN if there is none."""
    found = _NUMBER.match(setting)
    return (found["words"], float(found["number"].replace(",", ""))) if found else (setting, math.nan)


def final_training_loss(frame: pd.DataFrame) -> Figure:
    """Training loss in the end, over the swept setting."""
    return _figure(
        frame, "loss", "training loss", f"Mean over the last epoch, before each step. {LOG_SPREAD}", log=True
    )


def final_test_loss(frame: pd.DataFrame) -> Figure:
    """Test loss in the end, over the swept setting."""
    return _figure(frame, "test_loss", "test loss", f"On all test rows. {LOG_SPREAD}", log=True)


def final_test_accuracy(frame: pd.DataFrame) -> Figure:
    """Test accuracy in the end, over the swept setting."""
    return _figure(frame, "test_accuracy", "test accuracy (%)", f"On all test rows. {SPREAD}")


def final_r2(frame: pd.DataFrame) -> Figure:
    """R^2 on the test rows in the end, over the swept setting."""
    return _figure(frame, "test_r2", "test R2", f"On all test rows. {SPREAD}")


def accuracy_by_setting(frame: pd.DataFrame) -> Figure:
    """Test accuracy in the end, settings side by side, a panel for what stands before the comma in their names."""
    known = summarize(frame).dropna(subset="test_accuracy")
    groups = known.groupby(known["setting"].astype(str).str.split(", ").str[0], sort=False)
    return Figure(
        name="final-test-accuracy-by-setting",
        title="Final test accuracy by setting",
        caption=f"On all test rows. {SPREAD} Between settings a line only guides the eye. Runs that ended without a "
        "finite loss are not drawn.",
        panels=tuple(_setting_panel(str(name), group) for name, group in groups),
    )


def loss_by_value(frame: pd.DataFrame) -> Figure:
    """Training loss over steps, a line for each value of the swept setting."""
    return loss_by_step(_values_as_curves(frame))


def accuracy_by_value(frame: pd.DataFrame) -> Figure:
    """Test accuracy over epochs, a line for each value of the swept setting."""
    return accuracy_by_epoch(_values_as_curves(frame))


def _values_as_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with a panel for each optimizer (and data set) and a curve for each setting."""
    parts = frame["setting"].astype(str).str.rpartition(", ")  # what stands before a comma, the comma, the rest
    panel = (parts[0] + parts[1]).str.cat(frame["optimizer"].astype(str))
    return frame.assign(setting=panel, optimizer=parts[2])


def _figure(frame: pd.DataFrame, column: str, label: str, caption: str, *, log: bool = False) -> Figure:
    known = summarize(frame).dropna(subset=column)
    plain = label.removesuffix(" (%)")
    return Figure(
        name=f"final-{plain.lower().replace(' ', '-')}",
        title=f"Final {plain}",
        caption=f"{caption} Runs that ended without a finite loss are not drawn.",
        panels=tuple(
            _panel(known, settings, words, label, column, log=log) for words, settings in _sweeps(known).items()
        ),
    )


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
    """The data set, which stands before a comma where there are several; see `studies.by_panel`."""
    return setting.rpartition(", ")[0]


def _panel(summary: pd.DataFrame, settings: Sequence[str], words: str, label: str, column: str, *, log: bool) -> Panel:
    values = [swept_value(setting)[1] for setting in settings]
    numeric = all(value > 0 for value in values)  # neither zeros nor names, which have no place on a logarithmic axis
    at = dict(zip(settings, values if numeric else range(len(settings)), strict=True))
    runs = summary.loc[summary["setting"].isin(settings)]
    found = [_curve(str(name), group, at, column, log=log) for name, group in runs.groupby("optimizer", sort=False)]
    ticks = () if numeric else tuple((float(place), _tick(setting, words)) for setting, place in at.items())
    return Panel("", words or "setting", label, log, tuple(found), log_x=numeric, ticks=ticks)


def _setting_panel(name: str, summary: pd.DataFrame) -> Panel:
    settings = [str(setting) for setting in summary["setting"].unique()]
    at = dict(zip(settings, range(len(settings)), strict=True))
    found = [
        _curve(str(optimizer), runs, at, "test_accuracy", log=False)
        for optimizer, runs in summary.groupby("optimizer", sort=False)
    ]
    ticks = tuple((float(place), setting.removeprefix(f"{name}, ")) for setting, place in at.items())
    return Panel(name, "", "final test accuracy (%)", False, tuple(found), ticks=ticks)


def _tick(setting: str, words: str) -> str:
    """What stands below a value: the number alone, as its words are the axis title already."""
    return setting.removeprefix(words).strip(" =") if swept_value(setting)[0] == words else setting


def _curve(name: str, runs: pd.DataFrame, at: Mapping[str, float], column: str, *, log: bool) -> Curve:
    """Over the settings' places; seeds as one."""
    places = runs["setting"].map(at).astype(float)
    values = runs.assign(place=places).pivot_table(index="place", columns="seed", values=column)
    known = np.maximum(values.to_numpy(dtype=np.float64), SMALLEST if log else -np.inf)
    return Curve(
        name=name,
        x=np.asarray(values.index, dtype=np.float64),
        mean=np.exp(np.nanmean(np.log(known), axis=1)) if log else np.nanmean(known, axis=1),
        low=np.nanmin(known, axis=1),
        high=np.nanmax(known, axis=1),
        seeds=known.shape[1],
    )
