"""What is linear in its own parameters: how a layer's outputs depend on them, by type of module, open to users."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

from torch import Tensor, nn
from torch.nn import functional

from revgn.linear.features import Product, product_of

Positions = Callable[[Tensor], Tensor]


def last_dimension(outputs: Tensor) -> Tensor:
    """The layout (m, T, q) of outputs (m, ..., q): every index between rows and features is a position."""
    return outputs.reshape(len(outputs), -1, outputs.shape[-1])


def channels_first(outputs: Tensor) -> Tensor:
    """The layout (m, T, q) of outputs (m, q, ...)."""
    return outputs.reshape(len(outputs), outputs.shape[1], -1).mT


@dataclass(frozen=True, eq=False)
class Affine:
    """Outputs phi W^T + b at each of T positions of a row, by a matrix and a bias of which either may be None.

    Attributes:
        weight: the parameter that holds W, (q, p) but for its shape; with groups W of each group, one after another.
        bias: b, (q,).
        features: phi, (n, T, p); with groups (n, T, groups p). Left out where there is no weight.
        positions: arranges outputs, or cotangents of them, as (m, T, q).
        groups: blocks of the block-diagonal W.
        transposed: whether the parameter holds W^T, (p, q), as embeddings do.
        product: phi as a product of narrower matrices, where it is one.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    features: Tensor | None
    positions: Positions = last_dimension
    groups: int = 1
    transposed: bool = False
    product: Product | None = None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The weight and the bias, as far as there are any."""
        return [p for p in (self.weight, self.bias) if p is not None]


class Scaling(Affine):
    """Outputs phi * w at each of T positions of a row: a diagonal W, as normalisations scale what they have normalised.

    Args:
        weight: w, of q entries.
        features: phi, (n, T, q).
        positions: as of `Affine`.
    """

    def __init__(self, weight: nn.Parameter, features: Tensor, positions: Positions = last_dimension) -> None:
        super().__init__(weight, None, features, positions, groups=features.shape[-1])


Use = Affine
"""One way in which a layer's outputs depend on its parameters."""


@singledispatch
def layer_uses(module: nn.Module, inputs: Tensor) -> list[Use]:
    """How the outputs of a layer depend on its parameters at the inputs that it saw.

    Register a function for a layer of your own that is linear in its parameters, and its part of the tangent kernel is
    formed without per-example gradients:

        @revgn.nn.layer_uses.register
        def _(module: MyLayer, inputs: torch.Tensor) -> list[revgn.nn.Use]:
            return [revgn.nn.Affine(module.weight, module.bias, module.features(inputs).unsqueeze(1))]

    What it says is checked against autograd on a few rows; parameters for which it is wrong, or that it leaves out,
    take the slower way.

    Args:
        module: the layer.
        inputs: the first argument of its forward pass, n rows.
    """
    raise NotImplementedError


def is_known(module: nn.Module) -> bool:
    """Whether `layer_uses` knows the module's type, and the module still computes what that type does."""
    found = layer_uses.dispatch(type(module))
    if found is layer_uses.dispatch(nn.Module):
        return False
    known = next((kind for kind in type(module).__mro__ if layer_uses.registry.get(kind) is found), None)
    # A subclass with a forward pass of its own may compute anything.
    return known is not None and type(module).forward is known.forward and "forward" not in vars(module)


def own(module: nn.Module, name: str) -> nn.Parameter | None:
    """The parameter of that name, or None where there is none: parametrised and pruned weights are no parameters."""
    return module._parameters.get(name)  # pyright: ignore[reportPrivateUsage]


@layer_uses.register
def _(module: nn.Linear, inputs: Tensor) -> list[Use]:
    product = product_of(inputs) if inputs.ndim == 2 else None
    return [Affine(own(module, "weight"), own(module, "bias"), last_dimension(inputs), product=product)]


@layer_uses.register(nn.Conv1d)
@layer_uses.register(nn.Conv2d)
def _(module: nn.Conv1d | nn.Conv2d, inputs: Tensor) -> list[Use]:
    zeros = module.padding_mode == "zeros"
    # torch keeps the padding of each side, last dimension first, for the modes that pad beforehand.
    sides: list[int] = module._reversed_padding_repeated_twice  # pyright: ignore[reportPrivateUsage]
    inputs = functional.pad(inputs, sides, mode="constant" if zeros else module.padding_mode)
    kernel, dilation, stride = module.kernel_size, module.dilation, module.stride
    if len(kernel) == 1:
        inputs, kernel, dilation, stride = inputs.unsqueeze(-1), (*kernel, 1), (*dilation, 1), (*stride, 1)
    # The inputs under the kernel at every position, (n, T, channels * kernel size).
    patches = functional.unfold(inputs, kernel, dilation=dilation, stride=stride).mT
    return [Affine(own(module, "weight"), own(module, "bias"), patches, channels_first, module.groups)]


@layer_uses.register(nn.LayerNorm)
@layer_uses.register(nn.RMSNorm)
def _(module: nn.LayerNorm | nn.RMSNorm, inputs: Tensor) -> list[Use]:
    if isinstance(module, nn.LayerNorm):
        normalised = functional.layer_norm(inputs, module.normalized_shape, eps=module.eps)
    else:
        normalised = functional.rms_norm(inputs, module.normalized_shape, eps=module.eps)
    return _scaled_and_shifted(module, normalised, lambda x: last_dimension(x.flatten(-len(module.normalized_shape))))


@layer_uses.register
def _(module: nn.GroupNorm, inputs: Tensor) -> list[Use]:
    normalised = functional.group_norm(inputs, module.num_groups, eps=module.eps)
    return _scaled_and_shifted(module, normalised, channels_first)


@layer_uses.register(nn.BatchNorm1d)
@layer_uses.register(nn.BatchNorm2d)
@layer_uses.register(nn.BatchNorm3d)
def _(module: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, inputs: Tensor) -> list[Use]:
    # In evaluation mode: in training mode rows depend on each other, which is refused before.
    normalised = functional.batch_norm(inputs, module.running_mean, module.running_var, eps=module.eps)
    return _scaled_and_shifted(module, normalised, channels_first)


def _scaled_and_shifted(module: nn.Module, normalised: Tensor, positions: Positions) -> list[Use]:
    phi = positions(normalised)
    return [Affine(own(module, "weight"), own(module, "bias"), phi, positions, groups=phi.shape[-1])]


@layer_uses.register
def _(module: nn.Embedding, inputs: Tensor) -> list[Use]:
    weight = own(module, "weight")
    if weight is None or module.max_norm is not None or module.scale_grad_by_freq:
        return []
    one_hot = functional.one_hot(inputs.reshape(len(inputs), -1), module.num_embeddings).to(weight.dtype)
    if module.padding_idx is not None:
        one_hot[..., module.padding_idx] = 0  # torch gives the padding no gradient
    return [Affine(weight, None, one_hot, transposed=True)]
