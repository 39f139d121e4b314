"""The pseudo-inverse with noise on it: how much error does a Gauss-Newton step bear, or profit from?"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from revgn.solvers.base import Solution, Solver, require_tolerance
from revgn.solvers.design import Design
from revgn.solvers.gram import Cholesky


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

    def _solve(self, design: Design, target: Tensor) -> Solution:
        exact = Cholesky().solve(design, target)
        if not self.std:
            return exact
        stacked = design.stack(exact.delta, exact.bias)  # (p, k)
        scale = self.std * torch.linalg.vector_norm(stacked, dtype=torch.float64) / stacked.numel() ** 0.5
        # In float64 on the CPU, so that one seed means the same noise in every dtype and on every device.
        noise = torch.randn(stacked.shape, generator=self._generator(target), dtype=torch.float64)
        noisy = stacked + (scale * noise.to(scale.device)).to(stacked.dtype)
        return Solution(*design.split(noisy), exact.rank, design, target)

    def _generator(self, target: Tensor) -> torch.Generator:
        """Random numbers that the seed and the very bits of the target decide."""
        digest = hashlib.blake2b(str(self.seed).encode(), digest_size=7)
        digest.update(target.detach().cpu().contiguous().numpy().tobytes())
        return torch.Generator().manual_seed(int.from_bytes(digest.digest(), "little"))
