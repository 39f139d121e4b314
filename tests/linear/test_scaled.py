"""Columns brought to unit length, and what is remembered of their norms."""

import torch
from torch import nn

import revgn
from networks import normal
from revgn.linear import ScaledColumns, Weighted

INPUTS = normal(30, 3)
UNITS = torch.tensor([1e6, 1.0, 1e-6], dtype=torch.float64)


def columns(units, earlier=None):
    """The map of a linear model whose inputs are in these units, (3,)."""
    jacobian = revgn.Jacobian(nn.Linear(3, 1, bias=False, dtype=torch.float64), INPUTS * units)
    return ScaledColumns(Weighted(None, jacobian), earlier)


def test_columns_have_unit_length_in_any_units():
    torch.testing.assert_close(columns(UNITS).dense(), columns(torch.ones_like(UNITS)).dense())
    torch.testing.assert_close(columns(UNITS).dense().norm(dim=0), torch.ones(3, dtype=torch.float64))


def test_a_column_that_shrinks_keeps_its_norm_up_to_ten_thousand_times():
    at_first = columns(torch.ones(3, dtype=torch.float64)).norms
    later = columns(torch.tensor([10.0, 1e-3, 1e-9], dtype=torch.float64), at_first).norms
    torch.testing.assert_close(later, at_first * torch.tensor([10.0, 1.0, 1e-5], dtype=torch.float64))


def test_a_parameter_that_moves_nothing_stays_where_it_is():
    made = columns(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    [moved] = made.unscaled(made.adjoint(normal(30, 1))).values()
    assert moved.isfinite().all()
    assert moved[0, 2] == 0.0
