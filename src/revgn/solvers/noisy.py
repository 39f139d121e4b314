"""The pseudo-inverse with noise on it: how much error does a Gauss-Newton step bear, or profit from?"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.linear import LinearMap
from revgn.solvers.cholesky import Cholesky
from revgn.solvers.solver import Factor, Solution, Solver, State, require_tolerance


@dataclass(frozen=True)
class Noisy(Solver):
    """Delta = Phi^+ u + E, with Gaussian noise E of relative size std: E ||E||_F^2 = std^2 ||Phi^+ u||_F^2.

    For experiments on regularisation by noise; it is never the better solution. Noise is drawn afresh for every
    problem, by the seed and the target alone: steps do not share it, a repeated or resumed run does, and torch's
    global random numbers are neither used nor changed. The defect is that of the noisy Delta. Cost: that of
    `Cholesky()`, and h k random numbers.

    Args:
        std: size of the noise relative to the solution; 0 for none.
        seed: of the noise.

    Raises:
        ValueError: std is negative or not finite, or the seed is not a whole number from 0 on.
    """

    std: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        require_tolerance("std", self.std)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be a whole number from 0 on, got {self.seed!r}")

    def factor_map(self, map: LinearMap, state: State | None) -> Factor:
        return NoisyFactor(map, self, Cholesky().factor_map(map, state))


@dataclass(eq=False)
class NoisyFactor(Factor):
    """An exact factor, and the noise that goes onto its solutions."""

    solver: Noisy
    exact: Factor

    def invert(self, target: Tensor, damping: float) -> Solution:
        exact = self.exact.invert(target, damping)
        if not self.solver.std:
            return exact
        stacked = self.map.stack(exact.x)  # (p, k)
        scale = self.solver.std * torch.linalg.vector_norm(stacked, dtype=torch.float64) / stacked.numel() ** 0.5
        # Random numbers that the seed and the very bits of the target decide.
        digest = hashlib.blake2b(str(self.solver.seed).encode(), digest_size=7)
        digest.update(target.detach().cpu().contiguous().numpy().tobytes())
        generator = torch.Generator().manual_seed(int.from_bytes(digest.digest(), "little"))
        # In float64 on the CPU, so that one seed means the same noise in every dtype and on every device.
        noise = torch.randn(stacked.shape, generator=generator, dtype=torch.float64, device="cpu")
        noisy = stacked + (scale * noise.to(scale.device)).to(stacked.dtype)
        return Solution(self.map.split(noisy), exact.measured_rank, self.map, target)
