"""Steps with the full Jacobian: the theoretical Gauss-Newton update, for any module."""

from revgn.dense.gauss_newton import GaussNewton as GaussNewton
from revgn.dense.jacobian import jacobian as jacobian
