"""Solvers of A x = u: of the least-squares problem of one layer, or of a whole Jacobian."""

from revgn.solvers.cg import CG as CG
from revgn.solvers.cholesky import Cholesky as Cholesky
from revgn.solvers.eigenvalues import Eigh as Eigh
from revgn.solvers.eigenvalues import Randomized as Randomized
from revgn.solvers.noisy import Noisy as Noisy
from revgn.solvers.orthogonal import QR as QR
from revgn.solvers.orthogonal import SVD as SVD
from revgn.solvers.running import RunningCurvature as RunningCurvature
from revgn.solvers.solver import Factor as Factor
from revgn.solvers.solver import Solution as Solution
from revgn.solvers.solver import Solver as Solver
