"""Elementwise activations that carry their Jacobian-vector product in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from revgn._names import unknown_name

# An elementwise map has a diagonal Jacobian, so its JVP is its VJP: torch's own fused backward kernels serve for both.
_aten = torch.ops.aten

Jvp = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """An elementwise function and its derivative times a tangent, evaluated from the input or from the output.

    Args:
        name: as accepted by `RevMLP(activation=...)`.
        function: elementwise, any shape to the same shape.
        derivative: `(tangent, at) -> tangent` times the derivative, where `at` is what `at` says.
        at: whether the derivative is evaluated at the function's "input" or can be had from its "output",
            which need not be kept twice.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]
    at: Literal["input", "output"]

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Jvp]:
        """The outputs, and the JVP at `inputs`."""
        outputs = self.function(inputs)
        at = inputs if self.at == "input" else outputs
        return outputs, partial(_swapped, self.derivative, at)


def _swapped(derivative: Callable[[Tensor, Tensor], Tensor], at: Tensor, tangent: Tensor) -> Tensor:
    return derivative(tangent, at)


def _identity(inputs: Tensor) -> Tensor:
    return inputs


def _identity_derivative(tangent: Tensor, _: Tensor) -> Tensor:
    return tangent


def _relu_derivative(tangent: Tensor, outputs: Tensor) -> Tensor:
    return _aten.threshold_backward(tangent, outputs, 0)


def _leaky_relu_derivative(tangent: Tensor, outputs: Tensor) -> Tensor:
    return _aten.leaky_relu_backward(tangent, outputs, 0.01, True)


def _tanh_derivative(tangent: Tensor, outputs: Tensor) -> Tensor:
    return _aten.tanh_backward(tangent, outputs)


def _gelu_derivative(tangent: Tensor, inputs: Tensor) -> Tensor:
    return _aten.gelu_backward(tangent, inputs, approximate="none")


def _silu_derivative(tangent: Tensor, inputs: Tensor) -> Tensor:
    return _aten.silu_backward(tangent, inputs)


def _softplus_derivative(tangent: Tensor, inputs: Tensor) -> Tensor:
    return _aten.softplus_backward(tangent, inputs, 1, 20)


def _sin_derivative(tangent: Tensor, inputs: Tensor) -> Tensor:
    return tangent * torch.cos(inputs)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("identity", _identity, _identity_derivative, "output"),
        Activation("relu", torch.relu, _relu_derivative, "output"),
        Activation("leaky_relu", torch.nn.functional.leaky_relu, _leaky_relu_derivative, "output"),
        Activation("tanh", torch.tanh, _tanh_derivative, "output"),
        Activation("gelu", torch.nn.functional.gelu, _gelu_derivative, "input"),
        Activation("silu", torch.nn.functional.silu, _silu_derivative, "input"),
        Activation("softplus", torch.nn.functional.softplus, _softplus_derivative, "input"),
        Activation("sin", torch.sin, _sin_derivative, "input"),
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


def linearize_activation(activation: Callable[[Tensor], Tensor], inputs: Tensor) -> tuple[Tensor, Jvp]:
    """Outputs and JVP of any activation: closed form for the named ones, forward-mode autodiff for every other."""
    if isinstance(activation, Activation):
        return activation.linearize(inputs)
    return activation(inputs), partial(_forward_mode, activation, inputs)


def _forward_mode(function: Callable[[Tensor], Tensor], inputs: Tensor, tangent: Tensor) -> Tensor:
    return torch.func.jvp(function, (inputs,), (tangent,))[1]
