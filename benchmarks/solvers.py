"""How fast is each solver of Phi Delta = u beside a thin SVD, and how accurate?

    python benchmarks/solvers.py [--shapes 256x1024 512x4000 1024x8000 2048x8000] [--pairs 3] [--out runs/benchmarks]

Phi are the features of the second block of RevMLP on images (Fashion-MNIST where it can be had, else digits), u the
residual of one-hot labels, 10 columns wide. Everything is timed in float32, in turns. Accuracy is measured against a
float64 SVD of the same features: `error` is that of Delta, with the singular values dropped that the solver is to drop,
`moved` that of Phi Delta, what the step does; `defect` is the share of u that is left.

`agreement` asks whether Eigh(rtol) and SVD(rtol) are the same step, in float32 and in float64.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import measure
import problems
from results import Benchmark, Check, Column, Result, Row, at_most, columns_beside
from revgn.losses import MSELoss
from revgn.nn.blocks import halves
from revgn.solvers import CG, QR, SVD, Cholesky, Eigh, Randomized, Solution, Solver


@dataclass(frozen=True)
class Entry:
    """A solver, and the singular values that it is to drop: relative to the largest, and all but so many."""

    solver: Solver
    rtol: float = 0.0
    rank: int | None = None


SOLVERS: dict[str, Entry] = {
    "SVD()": Entry(SVD()),
    "SVD(rtol=1e-2)": Entry(SVD(1e-2), 1e-2),
    "Eigh()": Entry(Eigh()),
    "Eigh(rtol=1e-2)": Entry(Eigh(1e-2), 1e-2),
    "Cholesky()": Entry(Cholesky()),
    "Cholesky(damping=1e-3)": Entry(Cholesky(damping=1e-3)),
    "QR()": Entry(QR()),
    "CG()": Entry(CG()),
    "Randomized(rtol=1e-2)": Entry(Randomized(rtol=1e-2), rtol=1e-2),
    "Randomized(rank=64)": Entry(Randomized(rank=64, rtol=0.0), rank=64),
}
BASELINE = "SVD()"
SHAPES = ["256x1024", "512x4000", "1024x8000", "2048x8000"]
TINY_SHAPES = ["24x64", "96x32"]
TOLERANCES = (1e-1, 1e-2, 1e-3)
AGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-9}
BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("rows", "n", "d", 5),
        Column("hidden", "h", "d", 5),
        Column("solver", "solver", width=28),
        *columns_beside("SVD", ".3f"),
        Column("rank", "rank", "d", 5),
        Column("error", "error", ".0e", 6),
        Column("moved", "moved", ".0e", 6),
        Column("defect", "defect", ".0e", 6),
    ],
)


@dataclass(frozen=True, eq=False)
class Case:
    """Features (n, h), a target (n, k), and the name of the data they come from."""

    features: Tensor
    target: Tensor
    data: str


def case(rows: int, hidden: int, seed: int = 42) -> Case:
    """Features of f in the second block at the start of training, and the residual r."""
    problem = problems.image_problem(rows, seed=seed, loss=MSELoss(), num_blocks=2, hidden_features=hidden)
    with torch.no_grad():
        _, b = halves(problem.model.layers[0](problem.model.lifted(problem.inputs)))
        features = problem.model.layers[1].couplings[0].features(b)
        return Case(features, problem.model(problem.inputs) - problem.targets, problems.images(rows, seed).name)


def reference(case: Case) -> Callable[[float, int | None], Tensor]:
    """The solution in float64 for any rtol and rank, from one SVD that shares no code with the solvers."""
    ones = case.features.new_ones(len(case.features), 1)
    design = torch.cat((case.features, ones), dim=1).double()
    u, s, vh = torch.linalg.svd(design, full_matrices=False)
    right = u.mT @ case.target.double()

    def solution(rtol: float, rank: int | None) -> Tensor:
        kept = s > max(rtol, max(design.shape) * torch.finfo(s.dtype).eps) * s[0]
        kept[rank:] &= rank is None
        return vh[kept].mT @ (right[kept] / s[kept].unsqueeze(1))

    return solution


def compared(case: Case, entries: Mapping[str, Entry], pairs: int) -> list[Row]:
    """A row for each solver."""

    def solve(solver: Solver) -> Callable[[], Solution]:
        return lambda: solver(case.features, case.target, bias=True)

    runs = {name: solve(entry.solver) for name, entry in entries.items()}
    solutions = {name: run() for name, run in runs.items()}  # warms up, too
    times = measure.in_turns(runs, pairs)
    exact = reference(case)
    return [
        {"data": case.data, "rows": len(case.features), "hidden": case.features.shape[1], "solver": name}
        | times[name].beside(times[BASELINE])
        | _accuracy(solutions[name], exact(entry.rtol, entry.rank))
        for name, entry in entries.items()
    ]


def _accuracy(solution: Solution, exact: Tensor) -> Row:
    stacked = solution.map.stack(solution.x).double()
    moves = solution.map.dense().double()
    return {
        "rank": solution.rank,
        "error": relative(stacked, exact),
        "moved": relative(moves @ stacked, moves @ exact),
        "defect": solution.defect,
    }


def relative(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||, in float64."""
    return float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))


def agreement(case: Case) -> list[Row]:
    """How far Eigh(rtol) and SVD(rtol) are apart, for each rtol and precision."""
    found: list[Row] = []
    for dtype in AGREEMENT:
        features, target = case.features.to(dtype), case.target.to(dtype)
        for rtol in TOLERANCES:
            eigh, svd = (kind(rtol)(features, target, bias=True) for kind in (Eigh, SVD))
            steps = [each.map.stack(each.x).double() for each in (eigh, svd)]
            found.append(
                {
                    "data": case.data,
                    "rows": len(features),
                    "hidden": features.shape[1],
                    "solver": f"Eigh({rtol:g}) to SVD, {str(dtype).removeprefix('torch.')}",
                    "dtype": str(dtype).removeprefix("torch."),
                    "rtol": rtol,
                    "rank": eigh.rank,
                    "rank_by_svd": svd.rank,
                    "error": relative(*steps),
                    "moved": relative(eigh.moved.double(), svd.moved.double()),
                }
            )
    return found


def checks(rows: Sequence[Row]) -> list[Check]:
    """Eigh and SVD are the same step, at the largest difference over tolerances."""
    names = {dtype: str(dtype).removeprefix("torch.") for dtype in AGREEMENT}
    return [
        at_most(
            f"Eigh(rtol) to SVD(rtol), largest relative difference of Delta in {names[dtype]}",
            max(row["error"] for row in rows if row.get("dtype") == names[dtype]),
            limit,
        )
        for dtype, limit in AGREEMENT.items()
    ]


def shape(word: str) -> tuple[int, int]:
    """n and h from "1024x8000"."""
    rows, cross, hidden = word.lower().partition("x")
    if not (cross and rows.isdigit() and hidden.isdigit() and int(rows) > 1 and int(hidden) > 1):
        raise argparse.ArgumentTypeError(f"{word!r} is no shape; expected rows x features, as in 1024x8000")
    return int(rows), int(hidden)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    parser.add_argument("--shapes", nargs="+", type=shape, metavar="NxH", help=f"default: {' '.join(SHAPES)}")
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args(argv)
    shapes = arguments.shapes or [shape(word) for word in (TINY_SHAPES if arguments.tiny else SHAPES)]

    def measure_all() -> Result:
        rows: list[Row] = []
        for size in shapes:
            found = compared(case(*size), SOLVERS, arguments.pairs)
            BENCHMARK.show(found)
            rows += found
        same = agreement(case(64, 200) if arguments.tiny else case(1024, 2000))
        BENCHMARK.show(same)
        return Result(rows + same, checks(same))

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
