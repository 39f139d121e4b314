"""How an optimizer looks in every figure: by colour, by dashes and by marker, so that it reads in black and white."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """The look of one line, in plotly's names; matplotlib's follow from them.

    Attributes:
        colour: of lines, markers and band.
        dash: plotly's name.
        marker: plotly's name.
    """

    colour: str
    dash: str
    marker: str

    @property
    def matplotlib_dash(self) -> str | tuple[int, tuple[int, ...]]:
        """The same dashes for matplotlib."""
        return _MATPLOTLIB_DASHES[self.dash]

    @property
    def matplotlib_marker(self) -> str:
        """The same marker for matplotlib."""
        return _MATPLOTLIB_MARKERS[self.marker]


# Okabe and Ito's colours, told apart by colour-blind readers: https://jfly.uni-koeln.de/color/
_STYLES: Mapping[str, Style] = {
    "GaussNewton": Style("#0072B2", "solid", "circle"),
    "Adam": Style("#D55E00", "dash", "square"),
    "SGD": Style("#009E73", "dot", "triangle-up"),
    "AdamW": Style("#CC79A7", "dashdot", "diamond"),
    "Muon": Style("#E69F00", "longdash", "cross"),
    "LBFGS": Style("#56B4E9", "longdashdot", "x"),
}
_OTHER = Style("#000000", "solid", "star")

_MATPLOTLIB_DASHES: Mapping[str, str | tuple[int, tuple[int, ...]]] = {
    "solid": "solid",
    "dash": "dashed",
    "dot": "dotted",
    "dashdot": "dashdot",
    "longdash": (0, (8, 3)),
    "longdashdot": (0, (8, 3, 1, 3)),
}
_MATPLOTLIB_MARKERS: Mapping[str, str] = {
    "circle": "o",
    "square": "s",
    "triangle-up": "^",
    "diamond": "D",
    "cross": "P",
    "x": "X",
    "star": "*",
}


def styles(names: Sequence[str]) -> dict[str, Style]:
    """A style for each name: the known optimizers keep theirs, other names get the free ones in their order."""
    free = iter([style for name, style in _STYLES.items() if name not in names])
    return {name: _STYLES[name] if name in _STYLES else next(free, _OTHER) for name in names}
