"""The tables that tests draw from leave no part out."""

import inspect

import pytest

import revgn
from revgn.losses import GaussNewtonLoss
from revgn.right_inverses import RightInverse
from revgn.solvers import Solver
from tables import LOSSES, RIGHT_INVERSES, SOLVERS, each

PARTS = {
    "solvers": (revgn.solvers, Solver, [case.solver for case in SOLVERS.values()]),
    "losses": (revgn.losses, GaussNewtonLoss, [case.make() for case in LOSSES.values()]),
    "right inverses": (revgn.right_inverses, RightInverse, [case.right_inverse for case in RIGHT_INVERSES.values()]),
}


@pytest.mark.parametrize("kind", PARTS)
def test_every_public_part_has_an_entry(kind):
    module, base, entries = PARTS[kind]
    public = {part for part in vars(module).values() if inspect.isclass(part) and issubclass(part, base)} - {base}
    assert public <= {type(entry) for entry in entries}


def test_a_choice_that_leaves_nothing_to_test_is_an_error():
    with pytest.raises(ValueError, match="no entry of the table for 'case'"):
        each("case", SOLVERS, lambda case: False)
