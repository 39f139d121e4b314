"""How an optimizer looks in every figure: by colour, by dashes and by marker, so that it reads in black and white."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from matplotlib.typing import LineStyleType


@dataclass(frozen=True)
class Style:
    """The look of one line, in matplotlib's names.

    Attributes:
        colour: of lines, markers and band.
        dash: of lines.
        marker: some ten of them on a line.
    """

    colour: str
    dash: LineStyleType
    marker: str


_LONG: LineStyleType = (0, (8, 3))
_LONG_DOTTED: LineStyleType = (0, (8, 3, 1, 3))
# Okabe and Ito's colours, told apart by colour-blind readers: https://jfly.uni-koeln.de/color/
# Their yellow is left out, which nobody can see on white.
_STYLES: Mapping[str, Style] = {
    "GaussNewton": Style("#0072B2", "solid", "o"),
    "Adam": Style("#D55E00", "dashed", "s"),
    "SGD": Style("#009E73", "dotted", "^"),
    "AdamW": Style("#CC79A7", "dashdot", "D"),
    "Muon": Style("#E69F00", _LONG, "P"),
    "LBFGS": Style("#56B4E9", _LONG_DOTTED, "X"),
    "DenseGaussNewton": Style("#000000", "solid", "*"),
}
# Labels of the studies that look like one of these, or like none of them.
_LABELS: Mapping[str, Style] = {
    "GN exact": _STYLES["GaussNewton"],
    "GN as released": Style("#000000", _LONG, "p"),
    "GN last block": Style("#E69F00", _LONG_DOTTED, "v"),
    "J^+ (dense)": _STYLES["DenseGaussNewton"],
    "J^+ (tangent kernel)": _STYLES["DenseGaussNewton"],
    "GN reversible": _STYLES["GaussNewton"],
    "GN adjoint": _STYLES["LBFGS"],
    "GN Moore-Penrose": _STYLES["Muon"],
    "GN Moore-Penrose, GCV": _STYLES["AdamW"],
    "slope 1": Style("#8a8a8a", "dotted", "_"),
}


def styles(names: Sequence[str]) -> dict[str, Style]:
    """A style for each name: the known ones keep theirs, other names get those that are free, in their order."""
    known = {**_STYLES, **_LABELS}
    free = _free({known[name] for name in names if name in known})
    return {name: known[name] if name in known else next(free) for name in names}


def _free(taken: Collection[Style]) -> Iterator[Style]:
    """The styles of optimizers that are not there, and then, without end, other pairings of their parts."""
    known = list(_STYLES.values())
    yield from (style for style in known if style not in taken)
    for turn in count(1):
        for index, style in enumerate(known):
            dash, marker = (known[(index + shift) % len(known)] for shift in (turn, 2 * turn))
            yield Style(style.colour, dash.dash, marker.marker)
