"""Losses that training by Gauss-Newton can use: value, gradient and curvature of every row, and r = H^+ grad."""

from revgn.losses.adopted import from_torch as from_torch
from revgn.losses.cross_entropy import CrossEntropyLoss as CrossEntropyLoss
from revgn.losses.diagonal import BCEWithLogitsLoss as BCEWithLogitsLoss
from revgn.losses.diagonal import PoissonNLLLoss as PoissonNLLLoss
from revgn.losses.loss import GaussNewtonLoss as GaussNewtonLoss
from revgn.losses.robust import Robust as Robust
from revgn.losses.squared import MSELoss as MSELoss
