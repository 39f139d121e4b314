"""Levenberg-Marquardt on NIST's problems: certified parameters to six digits."""

import pytest

import nist
import revgn

# Quick to run, and each hard in its way: flat starts, curved valleys, parameters of very different sizes.
QUICK = [("Misra1a", 0), ("BoxBOD", 0), ("Hahn1", 0), ("Rat43", 0), ("Thurber", 1)]
# From here the first parameter runs to 1e-53 and back along a curved valley: in 1,300 steps on one processor, in 3,200
# on another, which rounds otherwise.
LONG = ("MGH10", 0)


def assert_certified(name, start):
    problem = nist.load(name)
    model = problem.model(problem.starts[start])
    steps = 6000 if (name, start) == LONG else 400
    fit = revgn.fit(model, inputs=problem.inputs, targets=problem.targets, max_steps=steps, tolerance=1e-10)
    # Where rounding keeps the last promise from being kept, a fit at the solution ends as stalled.
    assert fit.ending in ("converged", "stalled"), fit
    found = model.b.detach()
    assert float(((found - problem.certified) / problem.certified).abs().max()) < 1e-6
    errors = fit.standard_errors["b"]
    assert float(((errors - problem.deviations) / problem.deviations).abs().max()) < 1e-3


@pytest.mark.parametrize(("name", "start"), QUICK)
def test_quick_ones(name, start):
    assert_certified(name, start)


@pytest.mark.nightly
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", nist.NAMES)
def test_all(name, start):
    assert_certified(name, start)
