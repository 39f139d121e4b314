"""Fits that run to a named ending, and what can be said of them."""

from revgn.fitting.fit import fit as fit
from revgn.fitting.result import Fit as Fit
