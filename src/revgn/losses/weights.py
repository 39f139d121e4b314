"""Weights of samples, as the mean of a loss and the roots of its curvature take them."""

from torch import Tensor


def relative(sample_weight: Tensor) -> Tensor:
    """The weights w_i over their mean, (n,): of mean one, whatever the scale that they were given on."""
    # Over the largest first: the sum of weights near the dtype's largest number, or smallest, would overflow or vanish.
    scaled = sample_weight / sample_weight.amax()
    return scaled / scaled.mean()


def weighed(root: Tensor, sample_weight: Tensor | None) -> Tensor:
    """The root sqrt(w_i) R_i of every row's w_i H_i, (n, k, d_out), w_i relative to the mean; R itself for None."""
    return root if sample_weight is None else relative(sample_weight).sqrt().view(-1, 1, 1) * root
