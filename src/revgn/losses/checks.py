"""What losses refuse: outputs, targets, sample weights and options that would compute something unintended."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from revgn.linear.functional import Inputs, count_rows
from revgn.linear.shards import take


def require_rows(outputs: Tensor, targets: Tensor) -> None:
    """Refuse outputs that are not floating rows (n, d_out), and targets that are not n rows on the same device."""
    for name, given in (("outputs", outputs), ("targets", targets)):
        if not isinstance(given, Tensor):
            raise TypeError(f"{name} of type {type(given).__name__}; expected a tensor: torch.as_tensor({name})")
    if outputs.ndim != 2 or outputs.shape[0] == 0 or outputs.shape[1] == 0:
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)}; expected (n, d_out) with at least one row and one column"
        )
    if not outputs.is_floating_point():
        raise TypeError(f"outputs of {outputs.dtype}; expected a floating dtype: outputs.float()")
    if targets.shape[:1] != outputs.shape[:1]:
        raise ValueError(f"{len(targets) if targets.ndim else 'scalar'} targets for {len(outputs)} rows of outputs")
    if targets.device != outputs.device:
        raise ValueError(f"targets on {targets.device}, outputs on {outputs.device}; move one: targets.to(device)")


def require_sample_weight(outputs: Tensor, sample_weight: Tensor) -> None:
    """Refuse weights that are not n finite numbers of the outputs' dtype, none negative and not all zero."""
    if not isinstance(sample_weight, Tensor):
        raise TypeError(
            f"sample_weight of type {type(sample_weight).__name__}; expected a tensor of {outputs.dtype}: "
            "torch.as_tensor(sample_weight, dtype=outputs.dtype)"
        )
    if sample_weight.shape != outputs.shape[:1]:
        raise ValueError(
            f"sample_weight of shape {tuple(sample_weight.shape)}; expected one weight a row: ({len(outputs)},)"
        )
    if sample_weight.dtype != outputs.dtype:
        raise TypeError(
            f"sample_weight of {sample_weight.dtype}; expected the outputs' {outputs.dtype}: "
            "sample_weight.to(outputs.dtype)"
        )
    if sample_weight.device != outputs.device:
        raise ValueError(
            f"sample_weight on {sample_weight.device}, outputs on {outputs.device}; move one: sample_weight.to(device)"
        )
    low, high = torch.stack(sample_weight.aminmax()).tolist()  # NaN passes through both
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("sample_weight holds values that are not finite; to leave a row out give it the weight 0")
    if low < 0:
        raise ValueError(f"sample_weight from {low:g} to {high:g}; expected none negative, 0 leaves a row out")
    if high == 0:
        raise ValueError("sample_weight is zero in every row; expected at least one positive weight")


def require_row_that_counts(weights: Tensor | None) -> None:
    """Refuse weights that are zero in every row."""
    if weights is not None and not bool((weights != 0).any()):
        raise ValueError(
            "sample_weight is zero for all rows, or they have the class_weight 0 or the target ignore_index; "
            "expected at least one that counts"
        )


def without_zero_weights(
    inputs: Inputs, targets: Tensor, sample_weight: Tensor | None, own_weight: Tensor | None
) -> tuple[Inputs, Tensor, Tensor | None]:
    """The rows that count; all of them where weights or targets are of a kind or shape that the loss will refuse.

    Raises:
        ValueError: none counts.
    """
    given = [weight for weight in (sample_weight, own_weight) if weight is not None]
    for weight in given:
        if not isinstance(weight, Tensor) or weight.shape != (count_rows(inputs),) or weight.device != targets.device:
            return inputs, targets, sample_weight
    zero = [weight == 0 for weight in given]
    if not zero or targets.shape[:1] != zero[0].shape or not bool(torch.stack(zero).any()):
        return inputs, targets, sample_weight
    kept = ~torch.stack(zero).any(0)
    require_row_that_counts(kept)
    return take(inputs, kept), targets[kept], None if sample_weight is None else sample_weight[kept]


def require_like(outputs: Tensor, targets: Tensor, advice: str) -> None:
    """Refuse targets whose shape or dtype is not the outputs', with advice on what to do."""
    if targets.shape != outputs.shape or targets.dtype != outputs.dtype:
        if targets.shape == outputs.shape[:1] and outputs.shape[1] == 1:
            # torch's own losses broadcast (n, 1) against (n,) to (n, n), in every row the mean of all targets.
            cast = "" if targets.dtype == outputs.dtype else ".to(outputs.dtype)"
            advice = f"call targets.unsqueeze(1){cast}"
        raise (TypeError if targets.shape == outputs.shape else ValueError)(
            f"targets of {targets.dtype} and shape {tuple(targets.shape)}; expected {outputs.dtype} and the outputs' "
            f"shape {tuple(outputs.shape)}; {advice}"
        )


def weights_of(name: str, given: Tensor | Sequence[float] | None, *, zero: bool) -> Tensor | None:
    """Weights by class or output as a float64 tensor on their own device; None for None.

    Args:
        name: of the option, for messages.
        given: finite numbers in a row, none negative.
        zero: whether some, but not all, may be zero.

    Raises:
        ValueError: others are given.
    """
    if given is None:
        return None
    # Numbers go to the CPU whatever the default device is, and to the outputs' when they are used.
    found = (
        given.detach().double() if isinstance(given, Tensor) else torch.tensor(given, dtype=torch.float64, device="cpu")
    )
    if found.ndim != 1:
        raise ValueError(f"{name} of shape {tuple(found.shape)}; expected one number each: {name}.flatten()")
    legal = (found >= 0 if zero else found > 0) & found.isfinite()
    if not bool(legal.all()) or not bool((found > 0).any()):
        sign = "not negative and not all zero" if zero else "positive"
        raise ValueError(f"{name}={found.tolist()}; expected one number each, finite and {sign}")
    return found


def require_damping(damping: float) -> None:
    """Refuse damping that is negative, infinite or NaN."""
    if not 0.0 <= damping < math.inf:
        raise ValueError(f"damping must be finite and not negative, got {damping}")
