"""What a batch must be made of before a model or a loss sees it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from revgn.linear.functional import Inputs, count_rows


def require_batch(inputs: Inputs, targets: Any, least: int = 1) -> Tensor:
    """The targets; refuses inputs that are no tensors in a tuple or a dict, and targets that are no tensor.

    Raises:
        TypeError: they are something else.
        ValueError: fewer than `least` rows; tensors that differ in their rows; no targets; tensors of inference mode.
    """
    if isinstance(inputs, list):
        raise TypeError(
            f"inputs are a list of {len(inputs)}; expected a tensor, or tuple(inputs) for several arguments, or "
            "(inputs,) for one argument that is a list"
        )
    leaves = tree_leaves(inputs)
    # Other containers pass that torch's pytree knows: they are one argument of the model.
    if not isinstance(inputs, (tuple, Mapping)) and not any(isinstance(leaf, Tensor) for leaf in leaves):
        as_tensor = (
            "; call torch.as_tensor(inputs)" if hasattr(inputs, "__array__") or isinstance(inputs, (int, float)) else ""
        )
        raise TypeError(
            f"inputs of type {type(inputs).__name__}; expected a tensor (n, ...), a tuple of them for several "
            f"arguments, or a dict for keyword arguments{as_tensor}"
        )
    count_rows(inputs, least)
    if targets is None:
        raise ValueError("no targets; expected step(inputs, targets)")
    if not isinstance(targets, Tensor):
        advice = "choose the tensor in it" if isinstance(targets, (tuple, Mapping)) else "torch.as_tensor(targets)"
        raise TypeError(f"targets of type {type(targets).__name__}; expected a tensor: {advice}")
    for name, tensor in (*(("inputs", leaf) for leaf in leaves), ("targets", targets)):
        if isinstance(tensor, Tensor) and tensor.is_inference():
            raise ValueError(
                f"{name} made in torch.inference_mode, of which autograd saves nothing; expected ordinary tensors: "
                f"make them under torch.no_grad(), or call {name}.clone() outside of inference mode"
            )
    return targets
