"""The whole Jacobian of a module's outputs by its parameters, for modules and batches small enough to hold it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacfwd, jacrev

# Passes that run at once: each carries a copy of the activations.
CHUNK = 64


def jacobian(model: nn.Module, inputs: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Outputs F, (n, d_out), and J = dF / dtheta, (n d_out, P), columns in the order of `parameters`.

    Takes min(n d_out, P) passes, by reverse or forward mode, and O(n d_out P) memory.

    Args:
        model: any module that `torch.func` can differentiate, with outputs of shape (n, d_out).
        inputs: (n, ...).
        parameters: the parameters to differentiate by, by their names in the model.

    Raises:
        ValueError: the outputs are not (n, d_out).
    """

    def outputs_twice(values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        outputs = functional_call(model, values, (inputs,))
        return outputs, outputs

    values = {name: parameter.detach() for name, parameter in parameters.items()}
    sizes = [value.numel() for value in values.values()]
    with torch.no_grad():
        shape = functional_call(model, values, (inputs,)).shape
    if len(shape) != 2 or shape[0] != len(inputs):
        raise ValueError(f"the model's outputs have shape {tuple(shape)}; expected ({len(inputs)}, d_out)")
    if shape.numel() <= sum(sizes):
        by_name, outputs = jacrev(outputs_twice, has_aux=True, chunk_size=CHUNK)(values)
    else:
        by_name, outputs = jacfwd(outputs_twice, has_aux=True)(values)
    columns = [by_name[name].reshape(shape.numel(), size) for name, size in zip(values, sizes, strict=True)]
    return outputs, torch.cat(columns, dim=1)
