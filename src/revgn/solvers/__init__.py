"""Solvers of Phi Delta = u, the least-squares problem of one half-coupling."""

from revgn.solvers.base import Solution as Solution
from revgn.solvers.base import Solver as Solver
from revgn.solvers.cg import CG as CG
from revgn.solvers.design import Design as Design
from revgn.solvers.gram import Cholesky as Cholesky
from revgn.solvers.gram import Eigh as Eigh
from revgn.solvers.noisy import Noisy as Noisy
from revgn.solvers.qr import QR as QR
from revgn.solvers.randomized import Randomized as Randomized
from revgn.solvers.svd import SVD as SVD
