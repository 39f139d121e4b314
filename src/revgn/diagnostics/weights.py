"""How far training has moved a network's weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revgn._names import unknown_name


@dataclass(frozen=True)
class WeightChange:
    """How far weights W are from weights W_0.

    Attributes:
        norm: ||W - W_0|| / ||W_0||; infinite where only W_0 is zero.
        cosine: of the angle between W and W_0, Re <W, W_0> / (||W|| ||W_0||); NaN where one of them is zero.
    """

    norm: float
    cosine: float


def weight_change(model: nn.Module, reference: nn.Module) -> dict[str, WeightChange]:
    """The change of every parameter of `model` from the one of the same name in `reference`, by that name.

    Args:
        model: after training, say.
        reference: a module of the same architecture, say a copy from before.

    Raises:
        ValueError: a parameter has no counterpart of the same name and shape.
    """
    ours, theirs = dict(model.named_parameters()), dict(reference.named_parameters())
    missing = sorted(ours.keys() ^ theirs.keys())
    if missing:
        message = unknown_name("parameter of the other module", missing[0], ours if missing[0] in theirs else theirs)
        raise ValueError(f"{message}; compare modules of one architecture")
    for name, parameter in ours.items():
        if parameter.shape != theirs[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(parameter.shape)} in the model and {tuple(theirs[name].shape)} in the "
                "reference; compare modules of one architecture"
            )
    return {name: joint_change([parameter], [theirs[name]]) for name, parameter in ours.items()}


@torch.no_grad()
def joint_change(weights: Sequence[Tensor], reference: Sequence[Tensor]) -> WeightChange:
    """The change of several tensors, taken for one long vector; sums in float64, entry by entry.

    A complex entry counts as two, its real and its imaginary part.
    """
    norm, norm0, distance = 0.0, 0.0, 0.0  # squared
    inner = 0.0
    for w, w0 in zip(weights, reference, strict=True):
        is_complex = w.is_complex() or w0.is_complex()
        w, w0 = (_real_entries(each.to(w.device), is_complex=is_complex) for each in (w, w0))
        norm += float(w.square().sum())
        norm0 += float(w0.square().sum())
        inner += float((w * w0).sum())
        distance += float((w - w0).square().sum())
    scale = math.sqrt(norm) * math.sqrt(norm0)
    return WeightChange(
        norm=math.sqrt(distance / norm0) if norm0 else (math.inf if distance else 0.0),
        cosine=max(-1.0, min(1.0, inner / scale)) if scale else math.nan,
    )


def _real_entries(values: Tensor, *, is_complex: bool) -> Tensor:
    """In float64; complex ones with a last dimension of 2. In these the dot product is Re <W, W_0>."""
    return torch.view_as_real(values.to(torch.complex128).resolve_conj()) if is_complex else values.double()
