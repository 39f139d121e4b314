"""What the labels of the studies mean, for readers who meet them first on a page."""

from collections.abc import Container, Iterable, Mapping

_DEFINITIONS: Mapping[str, str] = {
    "GN exact": "Gauss-Newton; the shares of the blocks add up to one and nothing is truncated, so that a step moves "
    "the outputs by what was asked",
    "GN as released": "the settings of the authors' code: every block takes a whole step, and small singular values of "
    "the features are cut off",
    "GN reversible": "exact Gauss-Newton through the inverses of the blocks",
    "GN adjoint": "exact Gauss-Newton with the least change of what each layer gives",
    "GN Moore-Penrose": "exact Gauss-Newton with the least change of the weights",
    "GN Moore-Penrose, GCV": "the same, damped as generalised cross-validation asks",
    "J^+ (dense)": "the theoretical step, by the Moore-Penrose inverse of the whole Jacobian",
    "J^+ (tangent kernel)": "the theoretical step, by the tangent kernel",
    "GN uniform": "every block takes the same share of the step",
    "GN weights 0.8, 0.2": "shares of the first and of the last block",
    "GN first block": "the first block takes the whole step",
    "GN last block": "the last block takes the whole step",
    "GN truncated": "small singular values of the features are cut off",
    "GN damped": "the pseudo-inverse of the features is damped",
    "GN noisy": "the pseudo-inverse of the features is disturbed by noise",
    "squared error": "half the squared distance to one-hot targets, whose curvature Gauss-Newton has exactly right",
    "long runs": "the same for more epochs",
}


def glossary(labels: Iterable[str], explained: Container[str] = ()) -> dict[str, str]:
    """The definitions of those labels that have one, in their order. Of a setting each part between commas counts.

    Args:
        labels: of optimizers and of settings.
        explained: those that a reader has met.
    """
    parts = dict.fromkeys(each for label in labels for each in (label, *label.split(", ")))
    return {part: _DEFINITIONS[part] for part in parts if part in _DEFINITIONS and part not in explained}
