"""Products in forward mode: the derivative that torch finds, without the terms that are zero."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from networks import normal
from revgn.linear.functional import jvp
from revgn.linear.products import ShortProducts

PRODUCTS: dict[str, tuple[Callable[..., Tensor], list[Tensor], dict[str, Any]]] = {
    "@": (lambda x, w: x @ w, [normal(3, 4), normal(4, 5)], {}),
    "@ of batches": (lambda x, w: x @ w, [normal(2, 3, 4), normal(4, 5)], {}),
    "mm": (torch.mm, [normal(3, 4), normal(4, 5)], {}),
    "bmm": (torch.bmm, [normal(2, 3, 4), normal(2, 4, 5)], {}),
    "linear": (functional.linear, [normal(3, 4), normal(5, 4)], {}),
    "linear with a bias": (functional.linear, [normal(3, 4), normal(5, 4), normal(5)], {}),
    "conv1d": (functional.conv1d, [normal(2, 3, 8), normal(4, 3, 3), normal(4)], {"stride": 2}),
    "conv2d": (functional.conv2d, [normal(2, 4, 6, 6), normal(4, 2, 3, 3), normal(4)], {"padding": 1, "groups": 2}),
}


class Counted(TorchDispatchMode):
    """How many products torch makes within."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.products += func.overloadpacket.__name__ in ("mm", "bmm", "addmm", "convolution")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("moving", [(True, False), (False, True), (True, True)], ids=["left", "right", "both"])
@pytest.mark.parametrize("bias_moves", [True, False])
@pytest.mark.parametrize("name", PRODUCTS)
def test_tangents_are_those_of_torch_for_no_more_products_than_factors_move(
    name: str, moving: tuple[bool, bool], bias_moves: bool
) -> None:
    function, factors, options = PRODUCTS[name]
    along = [normal(*each.shape, seed=7) for each in factors]
    moves = (*moving, bias_moves)[: len(factors)]
    with forward_ad.dual_level():
        given = [
            forward_ad.make_dual(each, tangent) if moved else each
            for each, tangent, moved in zip(factors, along, moves, strict=True)
        ]
        expected = forward_ad.unpack_dual(function(*given, **options))
        with Counted() as counted, ShortProducts():
            found = forward_ad.unpack_dual(function(*given, **options))
    torch.testing.assert_close(found.primal, expected.primal, rtol=0, atol=0)
    torch.testing.assert_close(found.tangent, expected.tangent, rtol=1e-14, atol=1e-14)
    assert counted.products <= 1 + sum(moving)


class InPlace(nn.Module):
    """A frozen product, then what works in place on it, and a product by keywords."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.frozen, self.last = nn.Linear(4, 6), nn.Linear(6, 5, bias=False), nn.Linear(5, 2)
        self.frozen.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu_(self.frozen(torch.tanh(self.first(x))))
        hidden.mul_(2.0)
        return functional.linear(hidden, weight=self.last.weight, bias=self.last.bias)


class Mapped(InPlace):
    """The same for one row at a time, by torch.vmap."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.vmap(lambda row: torch.relu(self.frozen.weight @ torch.tanh(self.first(row))))(x)
        return self.last(2.0 * hidden)


@pytest.mark.parametrize("kind", [InPlace, Mapped])
def test_a_jvp_through_a_frozen_layer_is_the_difference_quotient(kind: type[InPlace]) -> None:
    torch.manual_seed(0)
    model, x = kind().double(), normal(7, 4)
    change = {p: normal(*p.shape, seed=3) for p in model.parameters() if p.requires_grad}
    outputs, moved = jvp(model, x, change)
    with torch.no_grad():
        torch.testing.assert_close(outputs, model(x))
        shifted = []
        for step in (1e-6, -1e-6):
            for p, t in change.items():
                p += step * t
            shifted.append(model(x))
            for p, t in change.items():
                p -= step * t
    torch.testing.assert_close(moved, (shifted[0] - shifted[1]) / 2e-6, rtol=1e-7, atol=1e-7)
