"""The optimizers: exact Gauss-Newton for reversible networks, and what its steps report."""

from revgn.optim.gauss_newton import GaussNewton as GaussNewton
from revgn.optim.report import Report as Report
