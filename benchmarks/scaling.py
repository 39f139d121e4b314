"""How do time and memory of an exact step grow with blocks L, rows n, features h and the width of the state d?

    python benchmarks/scaling.py [L n h d] [--rounds 3] [--plot docs] [--out runs/benchmarks]

One sweep for each; what is not swept stays put. Exponents are the slopes of log(seconds) and log(bytes), least squares
over all points of a sweep, beside the slope of what theory counts for the very same points: products of matrices and
float64 factorisations for time, arrays alive at once for memory. Theory's own curve is not straight in n, whose
exponent goes from 1 to 3, so that only the two slopes on the same points can be compared.

Seconds are medians over rounds in which the points of a sweep are visited in turn. Memory is the peak beyond parameters
and their step, with features rebuilt (O(n h + n d), flat in L) and kept (O(L n h)), in a process of its own for
each sweep. The sweep of d widens the features with it, h = 8 d, as in O(L n d^2 + L n^2 d). All blocks are nonlinear
and all are solved, so that each costs the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import fresh
import measure
import problems
import theory
from figures import scaling_figure
from fits import exponent
from measure import Times
from problems import Problem
from results import Benchmark, Check, Column, Result, Row, at_least, at_most, require_known

FLOAT, DOUBLE = 4, 8  # bytes
LEAST = 0.3  # seconds that a point is measured for, in each round
MOST = 30  # steps


@dataclass(frozen=True)
class Point:
    """One size: L, n, h and d."""

    blocks: int
    rows: int
    hidden: int
    state: int

    @property
    def sizes(self) -> theory.Sizes:
        return theory.Sizes(self.rows, self.state, self.hidden, self.blocks, linear_first=False)

    @property
    def predicted_seconds(self) -> float:
        """What theory has the time proportional to, in operations."""
        return theory.step_seconds_shape(self.sizes, solved=self.blocks)

    def predicted_memory(self, *, keep_features: bool) -> float:
        """Bytes of the arrays alive at once when the lowest solved block is solved, beyond parameters and step.

        Features of f and g, of every solved block if they are kept; one tangent of features; states and their
        tangents; the Gram matrix and its factor in float64.
        """
        features = self.rows * self.hidden * FLOAT
        kept = 2 * (self.blocks if keep_features else 1) + 1
        return kept * features + 6 * self.rows * self.state * FLOAT + 2 * self.rows**2 * DOUBLE

    def problem(self) -> Problem:
        return problems.random_problem(
            self.rows,
            in_features=self.state,
            num_blocks=self.blocks,
            hidden_features=self.hidden,
            first_activation="relu",
        )


SWEEPS: Mapping[str, Sequence[Point]] = {
    "L": [Point(blocks, 256, 1024, 256) for blocks in (2, 4, 8, 16, 32, 64)],
    "n": [Point(1, rows, 16384, 256) for rows in (128, 256, 512, 1024, 2048, 4096, 8192)],
    "h": [Point(1, 512, hidden, 512) for hidden in (1024, 2048, 4096, 8192, 16384)],
    "d": [Point(1, 512, 8 * state, state) for state in (128, 256, 512, 1024, 2048)],
}
TINY: Mapping[str, Sequence[Point]] = {
    "L": [Point(blocks, 16, 64, 16) for blocks in (2, 4, 8)],
    "n": [Point(1, rows, 256, 16) for rows in (16, 32, 64)],
    "h": [Point(1, 16, hidden, 16) for hidden in (64, 128, 256)],
    "d": [Point(1, 16, 8 * state, state) for state in (8, 16, 32)],
}
SWEPT = {"L": "blocks", "n": "rows", "h": "hidden", "d": "state"}
MEMORY = {"kept": True, "rebuilt": False}  # keep_features
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("sweep", "by", width=2),
        Column("blocks", "L", "d", 4),
        Column("rows", "n", "d", 5),
        Column("hidden", "h", "d", 6),
        Column("state", "d", "d", 5),
        Column("seconds", "seconds", ".4f"),
        Column("lowest", "from", ".4f"),
        Column("highest", "to", ".4f"),
        Column("rate", "Gflop/s", ".0f", 7),
        Column("products", "products", ".2f", 8),
        Column("theory", "theory", ".2f", 7),
        Column("memory_kept", "MB kept", ".1f"),
        Column("memory_rebuilt", "rebuilt", ".1f"),
    ],
    scaling_figure,
)


def memory(points: Sequence[Mapping[str, Any]]) -> list[dict[str, int]]:
    """Bytes that a step takes beyond itself, by point and path; to be called in a fresh process."""
    small = TINY["L"][0].problem()
    for keep in MEMORY.values():
        small.gauss_newton(keep_features=keep)()  # libraries load and make their buffers
    found = []
    for point in points:
        large = Point(**point).problem()
        step = sum(p.numel() * p.element_size() for p in large.model.parameters())
        found.append(dict.fromkeys(MEMORY, -step))
        for how, keep in MEMORY.items():
            found[-1][how] += measure.peak_memory(large.gauss_newton(keep_features=keep))
            large.model.zero_grad()
    return found


def seconds(points: Sequence[Point], rounds: int) -> list[Times]:
    """Seconds of a step at each point, one entry a round; networks are made anew each time and not held."""
    taken: dict[Point, list[float]] = {point: [] for point in points}
    for turn in range(rounds):
        for point in points if turn % 2 else reversed(points):
            step = point.problem().gauss_newton(lr=1e-3)
            taken[point].append(measure.repeated(step, at_least=LEAST, most=MOST).median)
    return [Times(tuple(taken[point])) for point in points]


def swept(sweep: str, points: Sequence[Point], rounds: int) -> list[Row]:
    """A row for each point."""
    found: list[Row] = []
    peaks = fresh.call("scaling", "memory", mapped=True, points=[asdict(point) for point in points])
    for point, times, peak in zip(points, seconds(points, rounds), peaks, strict=True):
        by_theory = theory.gauss_newton_step(point.sizes, solved=point.blocks)
        counted = measure.counted(point.problem().gauss_newton(lr=1e-3))
        row: Row = {
            "sweep": sweep,
            **asdict(point),
            "seconds": times.median,
            "lowest": times.spread[0],
            "highest": times.spread[1],
            "rate": point.predicted_seconds / times.median / 1e9,
            "products": counted / point.sizes.unit,
            "theory": by_theory,
            "predicted_seconds": point.predicted_seconds,
        }
        for how, keep in MEMORY.items():
            row[f"memory_{how}"] = peak[how] / 1e6
            row[f"predicted_memory_{how}"] = point.predicted_memory(keep_features=keep) / 1e6
        BENCHMARK.show([row])
        found.append(row)
    return found


def exponents(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """For each sweep the exponents measured and predicted, of seconds and of memory."""
    found = {}
    for sweep in dict.fromkeys(row["sweep"] for row in rows):
        chosen = [row for row in rows if row["sweep"] == sweep]
        sizes = [row[SWEPT[sweep]] for row in chosen]
        quantities = ["seconds", *(f"memory_{how}" for how in MEMORY)]
        found[sweep] = {
            name: exponent(sizes, [max(row[name], 1e-3) for row in chosen])
            for quantity in quantities
            for name in (quantity, f"predicted_{quantity}")
        }
    return found


def checks(fitted: Mapping[str, Mapping[str, float]]) -> list[Check]:
    """Exponents of time against what was promised."""

    def of(sweep: str, name: str = "seconds") -> float | None:
        return fitted.get(sweep, {}).get(name)

    n, predicted = of("n"), of("n", "predicted_seconds")
    off = None if n is None or predicted is None else abs(n / predicted - 1)
    by_l, by_h = of("L"), of("h")
    return [
        at_most("exponent of time by L, distance from 1", None if by_l is None else abs(by_l - 1), 0.1),
        at_most("exponent of time by h, distance from 1", None if by_h is None else abs(by_h - 1), 0.15),
        at_least("exponent of time by n", n, 1.0),
        at_most("exponent of time by n", n, 2.0),
        at_most("exponent of time by n, share by which it differs from theory's", off, 0.15),
    ]


def said(fitted: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The exponents in words."""
    words = {"seconds": "time", "memory_kept": "memory, features kept", "memory_rebuilt": "memory, rebuilt"}
    return [
        f"{name} ~ {sweep}^{found[key]:.2f}, theory {found[f'predicted_{key}']:.2f}"
        for sweep, found in fitted.items()
        for key, name in words.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", help=f"of {', '.join(SWEEPS)}; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    require_known(parser, "sweep", arguments.sweeps, SWEEPS)
    sweeps = TINY if arguments.tiny else SWEEPS

    def measure_all() -> Result:
        rows: list[Row] = []
        for sweep in arguments.sweeps or sweeps:
            rows += swept(sweep, sweeps[sweep], arguments.rounds)
        fitted = exponents(rows)
        return Result(rows, [] if arguments.tiny else checks(fitted), said(fitted))

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
