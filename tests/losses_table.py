"""Every loss with every option that changes what it computes; properties run over all of them."""

import torch

from networks import classes, normal
from revgn.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss, PoissonNLLLoss, Robust


def real(n, d_out):
    return normal(n, d_out, seed=1)


def indices(n, d_out):
    return classes(n, d_out)


def distributions(n, d_out):
    return normal(n, d_out, seed=1).mul(2).softmax(-1)


def labels(n, d_out):
    return classes(n * d_out, 2).view(n, d_out).double()


def shares(n, d_out):
    return normal(n, d_out, seed=1).sigmoid()


def counts(n, d_out):
    return torch.poisson(normal(n, d_out, seed=1).exp(), generator=torch.Generator().manual_seed(0))


def case(make_loss, make_targets):
    return lambda n, d_out: (make_loss(), make_targets(n, d_out))


# Name -> function of (n, d_out) that makes the loss and float64 targets for it.
LOSSES = {
    "squared": case(MSELoss, real),
    "cross-entropy": case(CrossEntropyLoss, indices),
    "cross-entropy, distributions": case(CrossEntropyLoss, distributions),
    "cross-entropy, smoothed": case(lambda: CrossEntropyLoss(label_smoothing=0.1), indices),
    "exact cross-entropy": case(lambda: CrossEntropyLoss("exact"), indices),
    "exact cross-entropy, distributions": case(lambda: CrossEntropyLoss("exact"), distributions),
    "exact cross-entropy, damped, smoothed": case(lambda: CrossEntropyLoss("exact", 1e-3, 0.2), indices),
    "exact cross-entropy, damped much": case(lambda: CrossEntropyLoss("exact", 10.0), distributions),
    "binary": case(BCEWithLogitsLoss, labels),
    "binary, shares": case(BCEWithLogitsLoss, shares),
    "binary, damped": case(lambda: BCEWithLogitsLoss(0.1), labels),
    "poisson": case(PoissonNLLLoss, counts),
    "poisson, damped": case(lambda: PoissonNLLLoss(0.1), counts),
    "huber": case(lambda: Robust("huber"), real),
    "huber, wide": case(lambda: Robust("huber", scale=100.0), real),
    "soft_l1": case(lambda: Robust("soft_l1", scale=0.5), real),
    "cauchy": case(lambda: Robust("cauchy", scale=2.0), real),
    "tukey": case(lambda: Robust("tukey", scale=6.0), real),
    "tukey, narrow": case(lambda: Robust("tukey", scale=4.5), real),  # some rows lie beyond
    "cauchy of cross-entropy": case(lambda: Robust("cauchy", CrossEntropyLoss("exact")), indices),
    "huber of binary, damped": case(lambda: Robust("huber", BCEWithLogitsLoss(0.1)), shares),
}
