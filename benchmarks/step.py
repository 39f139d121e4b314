"""What a Gauss-Newton step costs beside a gradient step on the same network and batch.

    python benchmarks/step.py [mnist cifar10 digits ...] [--pairs 5] [--out runs/benchmarks]

Every method takes its step in turn, in one process, as often as there are pairs after one round of warming up, so that
a machine that drifts drifts for all of them. Reported are medians, and of the ratios to SGD, pair by pair, the median
and the range. `products` is the floor: the ratio of the floating point operations in matrix products, counted.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

import revgn
from revgn._names import unknown_name
from revgn.losses import CrossEntropyLoss
from revgn.solvers import Eigh

# The authors' sizes; their inputs are replaced by normal ones, which cost the same.
SETTINGS = {
    "digits": {"in_features": 64, "num_blocks": 2, "hidden_features": 2000, "state_features": 128},
    "mnist": {"in_features": 784, "num_blocks": 2, "hidden_features": 8000},
    "cifar10": {"in_features": 3072, "num_blocks": 6, "hidden_features": 8000},
}
ROWS, CLASSES = 1024, 10
GAUSS_NEWTON = {
    "exact, all surjective blocks": {},
    "exact, last block": {"block_weights": "last"},
    "exact, features rebuilt": {"keep_features": False},
    "truncated, all blocks": {"solver": Eigh(rtol=1e-2), "block_weights": "sum"},
}
Step = Callable[[], object]


def steps(setting: str) -> dict[str, Step]:
    """One step of every method, all on one network and batch; the rates are too small to lead anywhere."""
    generator = torch.Generator().manual_seed(0)
    model = revgn.RevMLP(out_features=CLASSES, generator=generator, **SETTINGS[setting])
    inputs = torch.randn(ROWS, model.in_features, generator=generator)
    targets = torch.randint(CLASSES, (ROWS,), generator=generator)
    loss = CrossEntropyLoss()

    def by_gradient(optimizer: torch.optim.Optimizer) -> Step:
        def step() -> None:
            optimizer.zero_grad()
            loss(model(inputs), targets).backward()
            optimizer.step()

        return step

    def by_gauss_newton(optimizer: revgn.GaussNewton) -> Step:
        def step() -> revgn.Report:
            report = optimizer.backward(inputs, targets)
            optimizer.step()
            return report

        return step

    gradient = {
        "SGD": torch.optim.SGD(model.parameters(), lr=1e-6),
        "Adam": torch.optim.Adam(model.parameters(), lr=1e-9),
    }
    ours = {name: revgn.GaussNewton(model, loss, lr=1e-3, **options) for name, options in GAUSS_NEWTON.items()}
    return {name: by_gradient(optimizer) for name, optimizer in gradient.items()} | {
        name: by_gauss_newton(optimizer) for name, optimizer in ours.items()
    }


def products(step: Step) -> int:
    """Floating point operations in matrix products."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def measure(setting: str, pairs: int) -> list[dict[str, object]]:
    """A row for each method."""
    methods = steps(setting)
    counted = {name: products(step) for name, step in methods.items()}  # warms up, too
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(pairs):
        for name in list(methods) if turn % 2 else reversed(methods):
            start = time.perf_counter()
            methods[name]()
            seconds[name].append(time.perf_counter() - start)
    rows = []
    for name, taken in seconds.items():
        ratios = [ours / sgd for ours, sgd in zip(taken, seconds["SGD"], strict=True)]
        report = methods[name]()
        rows.append(
            {
                "setting": setting,
                "method": name,
                "seconds": statistics.median(taken),
                "ratio": statistics.median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
                "products": counted[name] / counted["SGD"],
                "defect": report.defect if isinstance(report, revgn.Report) else None,
            }
        )
    return rows


def main() -> None:
    """Measure, print a table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=f"of {', '.join(SETTINGS)}; default: all")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    arguments = parser.parse_args()
    for setting in arguments.settings:
        if setting not in SETTINGS:
            parser.error(unknown_name("setting", setting, SETTINGS))
    rows = []
    print(f"{'setting':8} {'method':30} {'seconds':>8} {'of SGD':>7} {'range':>13} {'products':>9} {'defect':>8}")
    for setting in arguments.settings or SETTINGS:
        for row in measure(setting, arguments.pairs):
            rows.append(row)
            defect = "" if row["defect"] is None else f"{row['defect']:.0e}"
            print(
                f"{row['setting']:8} {row['method']:30} {row['seconds']:8.3f} {row['ratio']:7.2f} "
                f"{row['lowest']:6.2f}-{row['highest']:.2f} {row['products']:9.2f} {defect:>8}",
                flush=True,
            )
    machine = {"cpu": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "step.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
