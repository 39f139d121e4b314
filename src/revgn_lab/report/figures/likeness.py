"""How alike the representations are that different optimizers end with, as numbers and as heat maps."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from revgn.diagnostics import linear_cka
from revgn_lab.errors import RunError
from revgn_lab.report.collection import Run
from revgn_lab.report.figures.panels import Heatmap, Specification
from revgn_lab.runs.folders import REPRESENTATIONS
from revgn_lab.settings.messages import one_line


def likeness(runs: Sequence[Run]) -> pd.DataFrame:
    """Debiased linear CKA between the final outputs of a block, for every two optimizers in the same setting.

    Compared are runs of one seed, which started from the same weights; runs without a file of representations are left
    out.

    Returns:
        Columns dataset, setting, seed, block, a, b and cka; both orders of a pair, and each optimizer with itself.
    """
    files = [(run.labels, run.record.folder / REPRESENTATIONS) for run in runs]
    loaded = [(labels, _load(path)) for labels, path in files if path.is_file()]
    rows: list[dict[str, object]] = []
    for (one, ours), (other, theirs) in product(loaded, loaded):
        if one != replace(other, optimizer=one.optimizer):  # of another setting or seed
            continue
        for name in (name for name in ours if name in theirs):
            cka = linear_cka(torch.from_numpy(ours[name]), torch.from_numpy(theirs[name]), debiased=True)
            pair = {"block": name.removeprefix("block_"), "a": one.optimizer, "b": other.optimizer, "cka": cka}
            rows.append({"dataset": one.dataset, "setting": one.setting, "seed": one.seed, **pair})
    return pd.DataFrame(rows, columns=["dataset", "setting", "seed", "block", "a", "b", "cka"])


def heat_maps(likenesses: pd.DataFrame, shown: Specification) -> tuple[Heatmap, ...]:
    """A panel for each setting and block, the mean over seeds.

    Args:
        likenesses: see `likeness`.
        shown: the figure.
    """
    return tuple(_heat_map(table, shown) for _, table in likenesses.groupby(["setting", "block"], sort=False))


def _heat_map(table: pd.DataFrame, shown: Specification) -> Heatmap:
    title = f"{table['setting'].iloc[0]}, block {table['block'].iloc[0]}"
    names = list(dict.fromkeys(table["a"]))
    means = table.pivot_table(index="a", columns="b", values=shown.column).reindex(index=names, columns=names)
    return Heatmap(title, names, means.to_numpy(dtype=np.float64), shown.label)


def _load(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, BadZipFile) as error:
        raise RunError(f"{path} cannot be read ({one_line(str(error))}); remove its folder and run it again") from error
