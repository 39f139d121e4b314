"""Elementwise activations that carry their Jacobian-vector product in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from revgn._names import unknown_name

# An elementwise map has a diagonal Jacobian, so its JVP is its VJP: torch's own fused backward kernels serve for both.
_aten = torch.ops.aten

Jvp = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """An elementwise function and its derivative times a tangent.

    Args:
        name: as accepted by `RevMLP(activation=...)`.
        function: elementwise, any shape to the same shape.
        derivative: `(tangent, at, out)` writes tangent times the derivative into `out`, which may be the tangent.
        at: whether the derivative is evaluated at the function's "input" or can be had from its "output".
        function_: the function in place, for those whose derivative needs the output only.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor, Tensor], Tensor]
    at: Literal["input", "output"]
    function_: Callable[[Tensor], Tensor] | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)

    def linearize(self, inputs: Tensor, *, owned: bool) -> tuple[Tensor, Jvp]:
        """The outputs, and the JVP at `inputs`; `owned` inputs, and then tangents too, may be overwritten."""
        outputs = self.function_(inputs) if owned and self.function_ is not None else self.function(inputs)
        return outputs, partial(self._jvp, inputs if self.at == "input" else outputs, owned)

    def _jvp(self, at: Tensor, owned: bool, tangent: Tensor) -> Tensor:
        return self.derivative(tangent, at, tangent if owned else torch.empty_like(tangent))


def _identity(inputs: Tensor) -> Tensor:
    return inputs


def _identity_derivative(tangent: Tensor, _: Tensor, out: Tensor) -> Tensor:
    return tangent


def _relu_derivative(tangent: Tensor, outputs: Tensor, out: Tensor) -> Tensor:
    return _aten.threshold_backward.grad_input(tangent, outputs, 0, grad_input=out)


def _leaky_relu_derivative(tangent: Tensor, outputs: Tensor, out: Tensor) -> Tensor:
    return _aten.leaky_relu_backward.grad_input(tangent, outputs, 0.01, True, grad_input=out)


def _tanh_derivative(tangent: Tensor, outputs: Tensor, out: Tensor) -> Tensor:
    return _aten.tanh_backward.grad_input(tangent, outputs, grad_input=out)


def _gelu_derivative(tangent: Tensor, inputs: Tensor, out: Tensor) -> Tensor:
    return _aten.gelu_backward.grad_input(tangent, inputs, approximate="none", grad_input=out)


def _silu_derivative(tangent: Tensor, inputs: Tensor, out: Tensor) -> Tensor:
    return _aten.silu_backward.grad_input(tangent, inputs, grad_input=out)


def _softplus_derivative(tangent: Tensor, inputs: Tensor, out: Tensor) -> Tensor:
    return _aten.softplus_backward.grad_input(tangent, inputs, 1, 20, grad_input=out)


def _sin_derivative(tangent: Tensor, inputs: Tensor, out: Tensor) -> Tensor:
    return torch.mul(tangent, torch.cos(inputs), out=out)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("identity", _identity, _identity_derivative, "output", _identity),
        Activation("relu", torch.relu, _relu_derivative, "output", torch.relu_),
        Activation("leaky_relu", functional.leaky_relu, _leaky_relu_derivative, "output", functional.leaky_relu_),
        Activation("tanh", torch.tanh, _tanh_derivative, "output", torch.tanh_),
        Activation("gelu", functional.gelu, _gelu_derivative, "input"),
        Activation("silu", functional.silu, _silu_derivative, "input"),
        Activation("softplus", functional.softplus, _softplus_derivative, "input"),
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


def linearize_activation(
    activation: Callable[[Tensor], Tensor], inputs: Tensor, *, owned: bool = False
) -> tuple[Tensor, Jvp]:
    """Outputs and JVP of any activation: closed form for the named ones, forward-mode autodiff for every other.

    With `owned` the inputs are overwritten where that saves a copy, and so are the tangents that the JVP is given.
    """
    if isinstance(activation, Activation):
        return activation.linearize(inputs, owned=owned)
    return on_a_copy(activation, inputs), partial(forward_mode, activation, inputs)


def on_a_copy(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """The function's value; a function that works in place (`torch.tanh_`) overwrites a copy, not the inputs."""
    return function(inputs.clone())


def forward_mode(function: Callable[[Tensor], Tensor], inputs: Tensor, tangent: Tensor) -> Tensor:
    """The JVP of a function at inputs that it may overwrite, by forward-mode autodiff."""
    return torch.func.jvp(partial(on_a_copy, function), (inputs,), (tangent,))[1]
