"""How alike the representations are that different optimizers end with."""

from collections.abc import Iterator, Mapping, Sequence
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
from revgn_lab.settings.messages import one_line

FILE = "representations.npz"
_Blocks = Mapping[str, NDArray[np.float32]]


def likeness(runs: Sequence[Run]) -> pd.DataFrame:
    """Debiased linear CKA between the final outputs of a block, for every two optimizers in the same setting.

    Compared are runs of one seed, which started from the same weights; runs without a file of representations are left
    out.

    Returns:
        Columns dataset, setting, seed, block, a, b and cka; both orders of a pair, and each optimizer with itself.
    """
    known = [(run, run.record.folder / FILE) for run in runs if (run.record.folder / FILE).is_file()]
    loaded = [(run, _load(path)) for run, path in known]
    rows = [row for one, other in product(loaded, loaded) if _comparable(one[0], other[0]) for row in _rows(one, other)]
    return pd.DataFrame(rows, columns=["dataset", "setting", "seed", "block", "a", "b", "cka"])


def _comparable(one: Run, other: Run) -> bool:
    a, b = one.labels, other.labels
    return (a.dataset, a.setting, a.seed) == (b.dataset, b.setting, b.seed)


def _rows(one: tuple[Run, _Blocks], other: tuple[Run, _Blocks]) -> Iterator[dict[str, object]]:
    (run, ours), (beside, theirs) = one, other
    for name in ours:
        if name in theirs:
            yield {
                "dataset": run.labels.dataset,
                "setting": run.labels.setting,
                "seed": run.labels.seed,
                "block": name.removeprefix("block_"),
                "a": run.labels.optimizer,
                "b": beside.labels.optimizer,
                "cka": linear_cka(torch.from_numpy(ours[name]), torch.from_numpy(theirs[name]), debiased=True),
            }


def _load(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, BadZipFile) as error:
        raise RunError(f"{path} cannot be read ({one_line(str(error))}); remove its folder and run it again") from error
