"""Solvers of A x = u: of the least-squares problem of one layer, or of a whole Jacobian."""

from revgn.solvers.base import Factor as Factor
from revgn.solvers.base import Solution as Solution
from revgn.solvers.base import Solver as Solver
from revgn.solvers.cg import CG as CG
from revgn.solvers.cholesky import Cholesky as Cholesky
from revgn.solvers.eigh import Eigh as Eigh
from revgn.solvers.noisy import Noisy as Noisy
from revgn.solvers.qr import QR as QR
from revgn.solvers.randomized import Randomized as Randomized
from revgn.solvers.svd import SVD as SVD
