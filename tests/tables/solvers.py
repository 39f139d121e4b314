"""Every solver with every option that changes what it computes; properties run over all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from revgn.solvers import CG, QR, SVD, Cholesky, Eigh, Noisy, Randomized, RunningCurvature, Solver

ROUNDING = {torch.float32: 2e-3, torch.float64: 1e-9}


@dataclass(frozen=True)
class SolverCase:
    """A solver, and what is known of it.

    Attributes:
        solver: itself; None for the right inverse's own choice.
        truncates: it drops directions that features of full rank have.
        random: its solution depends on random numbers, and so on the bits of the target or the form of the map.
        any_shape: it solves features of any rank, in the least-squares sense where they are not surjective; otherwise
            only features with independent rows.
        damped_at_will: a damping that is asked of its factor takes the place of its own.
        measures_rank: its solutions tell the rank of the features.
        by_gram: it forms the smaller Gram matrix, once.
        whole_jacobian: it solves for a change of all parameters too, not only for the weights of one layer.
        same_as: the entry that it hands its problems to; left out where many solvers would take long.
        takes_chunks: it does not factor the features themselves, which may come in chunks.
        tolerance: relative error of the solution of well-posed features, by dtype.
    """

    solver: Solver | None
    truncates: bool = False
    random: bool = False
    any_shape: bool = True
    damped_at_will: bool = True
    measures_rank: bool = True
    by_gram: bool = False
    whole_jacobian: bool = True
    same_as: str | None = None
    takes_chunks: bool = False
    tolerance: Mapping[torch.dtype, float] = field(default_factory=lambda: ROUNDING)

    @property
    def damping(self) -> float:
        """Its own lambda, relative to the mean diagonal of the smaller Gram matrix."""
        return getattr(self.solver, "damping", 0.0)

    @property
    def exact(self) -> bool:
        """Whether it solves by the pseudo-inverse, to rounding, what it solves at all."""
        return not (self.damping or self.truncates or self.random)

    @property
    def pseudo_inverse(self) -> bool:
        """Whether it does so for features of any shape and rank."""
        return self.exact and self.any_shape


SOLVERS: dict[str, SolverCase] = {
    "svd": SolverCase(SVD()),
    "eigh": SolverCase(Eigh(), by_gram=True, takes_chunks=True),
    "cholesky": SolverCase(Cholesky(), by_gram=True, takes_chunks=True),
    "qr": SolverCase(QR()),
    "cg": SolverCase(CG(), measures_rank=False, takes_chunks=True),
    # Singular values of features without full rank are 1e-7 of the largest in float32, and not zero.
    "randomized": SolverCase(Randomized(rtol=1e-5), whole_jacobian=False, takes_chunks=True),
    "noisy, without noise": SolverCase(Noisy(std=0.0), same_as="cholesky", by_gram=True, takes_chunks=True),
    "svd, truncated": SolverCase(SVD(rtol=0.3), truncates=True),
    "eigh, truncated": SolverCase(Eigh(rtol=0.3), truncates=True, by_gram=True, takes_chunks=True),
    "randomized, truncated": SolverCase(Randomized(rtol=0.3), whole_jacobian=False, truncates=True, takes_chunks=True),
    "randomized, of rank 3": SolverCase(
        Randomized(rank=3), whole_jacobian=False, truncates=True, random=True, takes_chunks=True
    ),
    "cholesky, damped": SolverCase(Cholesky(damping=0.1), by_gram=True, takes_chunks=True),
    "cg, damped": SolverCase(CG(damping=0.1), measures_rank=False, takes_chunks=True),
    "noisy": SolverCase(Noisy(), random=True, by_gram=True, takes_chunks=True),
    "running curvature": SolverCase(RunningCurvature(damping=0.1), measures_rank=False, takes_chunks=True),
}
