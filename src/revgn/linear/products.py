"""Products in forward mode: torch's own multiply by a matrix of zeros in the place of a factor that does not move."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Linear in each of their first two arguments; a bias may follow. An operator @ arrives as Tensor.matmul.
_PRODUCTS = {
    *(torch.matmul, torch.mm, torch.bmm, Tensor.matmul, Tensor.mm, Tensor.bmm),
    *(functional.linear, torch.conv1d, torch.conv2d, torch.conv3d),
}


class ShortProducts(TorchFunctionMode):
    """Within it the tangent of a product has a term for each factor that has a tangent, and none for one that has not.

    A frozen matrix has none: in a network of frozen features a fifth of a JVP were products by zeros, made to be as
    large as the matrix.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _PRODUCTS or torch._C._functorch.maybe_current_level() is not None:  # pyright: ignore
            return func(*args, **kwargs)
        if any(isinstance(value, Tensor) for value in kwargs.values()):
            return func(*args, **kwargs)
        return _product(func, *args, **kwargs)


def _product(function: Callable[..., Tensor], first: Tensor, second: Tensor, *others: Any, **options: Any) -> Tensor:
    """The product by torch's own rules unless exactly one of the two factors has a tangent."""
    (x, along_x), (w, along_w), *rest = (
        forward_ad.unpack_dual(each) if isinstance(each, Tensor) else (each, each) for each in (first, second, *others)
    )
    if (along_x is None) == (along_w is None):
        return function(first, second, *others, **options)
    factors = x if along_x is None else along_x, w if along_w is None else along_w
    outputs = function(x, w, *(each for each, _ in rest), **options)
    return forward_ad.make_dual(outputs, function(*factors, *(along for _, along in rest), **options))
