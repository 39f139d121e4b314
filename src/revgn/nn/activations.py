"""Elementwise activations that carry their Jacobian-vector product in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from revgn.naming import unknown_name

Jvp = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """An elementwise function and its derivative times a tangent.

    Args:
        name: as accepted by `RevMLP(activation=...)`.
        function: elementwise, any shape to the same shape.
        derivative: `(tangent, at, grad_input=out)` gives tangent times the derivative, for which it may use `out`.
        function_: the function in place, if its derivative is had `at` its output; None: at its input.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[..., Tensor]
    function_: Callable[[Tensor], Tensor] | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)

    def __reduce__(self) -> tuple[Any, ...]:
        return find_activation, (self.name,)  # copies and pickles of networks hold the one of that name too


def _sin_derivative(tangent: Tensor, inputs: Tensor, *, grad_input: Tensor) -> Tensor:
    return torch.mul(tangent, torch.cos(inputs), out=grad_input)


# An elementwise map has a diagonal Jacobian, so its JVP is its VJP: torch's own fused backward kernels serve for both.
_aten = torch.ops.aten
_leaky_relu_derivative = partial(_aten.leaky_relu_backward.grad_input, negative_slope=0.01, self_is_result=True)

ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("identity", lambda z: z, lambda tangent, *_, **__: tangent, lambda z: z),
        Activation("relu", torch.relu, partial(_aten.threshold_backward.grad_input, threshold=0), torch.relu_),
        Activation("leaky_relu", functional.leaky_relu, _leaky_relu_derivative, functional.leaky_relu_),
        Activation("tanh", torch.tanh, _aten.tanh_backward.grad_input, torch.tanh_),
        Activation("gelu", functional.gelu, _aten.gelu_backward.grad_input),
        Activation("silu", functional.silu, _aten.silu_backward.grad_input),
        Activation("softplus", functional.softplus, partial(_aten.softplus_backward.grad_input, beta=1, threshold=20)),
        Activation("sin", torch.sin, _sin_derivative),
    )
}


def find_activation(activation: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The activation of that name, or the callable as it is.

    Raises:
        ValueError: no activation has that name.
        TypeError: neither a name nor a callable.
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(unknown_name("activation", activation, ACTIVATIONS))
        return ACTIVATIONS[activation]
    if not callable(activation):
        raise TypeError(f"activation must be a name or a callable, got {activation!r}; names: {', '.join(ACTIVATIONS)}")
    return activation


def linearize_activation(
    activation: Callable[[Tensor], Tensor], inputs: Tensor, *, owned: bool = False
) -> tuple[Tensor, Jvp]:
    """Outputs and JVP of any activation: closed form for the named ones, forward-mode autodiff for every other.

    With `owned` the inputs are overwritten where that saves a copy, and so are the tangents that the JVP is given.
    """
    if not isinstance(activation, Activation):
        return on_a_copy(activation, inputs), partial(forward_mode, activation, inputs)
    outputs = (overwriting(activation) if owned else activation)(inputs)
    at = inputs if activation.function_ is None else outputs

    def jvp(tangent: Tensor) -> Tensor:
        return activation.derivative(tangent, at, grad_input=tangent if owned else torch.empty_like(tangent))

    return outputs, jvp


def overwriting(activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same function, in place where that spares a tensor and autograd allows it: it needs its output alone."""
    in_place = activation.function_ if isinstance(activation, Activation) else None
    return activation if in_place is None else in_place


def on_a_copy(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """The function's value; a function that works in place (`torch.tanh_`) overwrites a copy, not the inputs."""
    return function(inputs.clone())


def forward_mode(function: Callable[[Tensor], Tensor], inputs: Tensor, tangent: Tensor) -> Tensor:
    """The JVP of a function at inputs that it may overwrite, by forward-mode autodiff."""
    return torch.func.jvp(partial(on_a_copy, function), (inputs,), (tangent,))[1]
