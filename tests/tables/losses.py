"""Every loss with every option that changes what it computes; properties run over all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from networks import classes, normal
from revgn.losses import BCEWithLogitsLoss, CrossEntropyLoss, GaussNewtonLoss, MSELoss, PoissonNLLLoss, Robust

# --- Targets that a loss may take: each a function of (n, d_out), the same every time, in float64 or int64.


def real(n: int, d_out: int) -> Tensor:
    return normal(n, d_out, seed=1)


def indices(n: int, d_out: int) -> Tensor:
    return classes(n, d_out)


def distributions(n: int, d_out: int) -> Tensor:
    return normal(n, d_out, seed=1).mul(2).softmax(-1)


def labels(n: int, d_out: int) -> Tensor:
    return classes(n * d_out, 2).view(n, d_out).double()


def shares(n: int, d_out: int) -> Tensor:
    return normal(n, d_out, seed=1).sigmoid()


def counts(n: int, d_out: int) -> Tensor:
    return torch.poisson(normal(n, d_out, seed=1).exp(), generator=torch.Generator().manual_seed(0))


# --- The table.


@dataclass(frozen=True)
class LossCase:
    """A loss, targets for it, and what is known of it.

    Attributes:
        make: gives the loss.
        targets: draws what it takes, of (n, d_out).
        curvature: "identity" is left out as None; "hessian" is the Hessian of the value, and the loss's damping;
            "bound" is more than the Hessian.
        definite: whether the curvature has full rank in every row.
        convex: whether the value is convex in the outputs.
        least_outputs: with fewer the loss is constant.
    """

    make: Callable[[], GaussNewtonLoss]
    targets: Callable[[int, int], Tensor]
    curvature: str = "hessian"
    definite: bool = True
    convex: bool = True
    least_outputs: int = 1

    def drawn(self, n: int, d_out: int) -> tuple[GaussNewtonLoss, Tensor]:
        """The loss, and targets for n rows of d_out outputs."""
        return self.make(), self.targets(n, d_out)


def softmax(make: Callable[[], GaussNewtonLoss], targets: Callable[[int, int], Tensor], **known: Any) -> LossCase:
    """Of probabilities that sum to one: outputs that are shifted alike have the same value, and H is singular."""
    return LossCase(make, targets, **({"definite": False, "least_outputs": 2} | known))


def robust(make: Callable[[], GaussNewtonLoss], targets: Callable[[int, int], Tensor], **known: Any) -> LossCase:
    """H leaves out what bends downwards."""
    return LossCase(make, targets, **({"curvature": "bound", "convex": False} | known))


IDENTITY = {"curvature": "identity", "definite": True}

LOSSES: dict[str, LossCase] = {
    "squared": LossCase(MSELoss, real, **IDENTITY),
    "cross-entropy": softmax(CrossEntropyLoss, indices, **IDENTITY),
    "cross-entropy, distributions": softmax(CrossEntropyLoss, distributions, **IDENTITY),
    "cross-entropy, smoothed": softmax(lambda: CrossEntropyLoss(label_smoothing=0.1), indices, **IDENTITY),
    "exact cross-entropy": softmax(lambda: CrossEntropyLoss("exact"), indices),
    "exact cross-entropy, distributions": softmax(lambda: CrossEntropyLoss("exact"), distributions),
    "exact cross-entropy, damped, smoothed": softmax(
        lambda: CrossEntropyLoss("exact", 1e-3, 0.2), indices, definite=True
    ),
    "exact cross-entropy, damped much": softmax(lambda: CrossEntropyLoss("exact", 10.0), distributions, definite=True),
    "binary": LossCase(BCEWithLogitsLoss, labels),
    "binary, shares": LossCase(BCEWithLogitsLoss, shares),
    "binary, damped": LossCase(lambda: BCEWithLogitsLoss(0.1), labels),
    "poisson": LossCase(PoissonNLLLoss, counts),
    "poisson, damped": LossCase(lambda: PoissonNLLLoss(0.1), counts),
    "huber": robust(lambda: Robust("huber"), real, convex=True),
    "huber, wide": robust(
        lambda: Robust("huber", scale=100.0), real, curvature="hessian", convex=True
    ),  # no row beyond
    "soft_l1": robust(lambda: Robust("soft_l1", scale=0.5), real, convex=True),
    "cauchy": robust(lambda: Robust("cauchy", scale=2.0), real),
    "tukey": robust(lambda: Robust("tukey", scale=6.0), real),
    "tukey, narrow": robust(lambda: Robust("tukey", scale=4.5), real, definite=False),  # some rows lie beyond
    "cauchy of cross-entropy": robust(
        lambda: Robust("cauchy", CrossEntropyLoss("exact")), indices, definite=False, least_outputs=2
    ),
    "huber of binary, damped": robust(lambda: Robust("huber", BCEWithLogitsLoss(0.1)), shares),
}
