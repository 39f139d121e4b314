"""How far training has moved a network's weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revgn.naming import unknown_name


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
    """The change of several tensors, taken for one long vector, in which a complex entry counts as two real ones."""
    norm, norm0, distance = 0.0, 0.0, 0.0  # squared
    inner = 0.0
    for w, w0 in zip(weights, reference, strict=True):
        dtype = torch.promote_types(torch.promote_types(w.dtype, w0.dtype), torch.float64)
        w, w0 = w.to(dtype), w0.to(w.device, dtype)
        norm += _inner(w, w)
        norm0 += _inner(w0, w0)
        inner += _inner(w, w0)
        distance += _inner(w - w0, w - w0)
    scale = math.sqrt(norm) * math.sqrt(norm0)
    return WeightChange(
        norm=math.sqrt(distance / norm0) if norm0 else (math.inf if distance else 0.0),
        cosine=max(-1.0, min(1.0, inner / scale)) if scale else math.nan,
    )


def _inner(w: Tensor, w0: Tensor) -> float:
    return float((w.conj() * w0).real.sum())
