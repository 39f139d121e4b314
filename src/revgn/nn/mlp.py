"""RevMLP, the reversible multilayer perceptron of Buffelli et al. (2024)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from revgn.nn.blocks import ReversibleBlock
from revgn.nn.couplings import Coupling
from revgn.nn.network import ReversibleNetwork
from revgn.nn.random_features import RandomFeatures


class RevMLP(ReversibleNetwork):
    """The reversible MLP whose exact Gauss-Newton step is in closed form.

    Each block adds to either half of the state a linear map of frozen random features of the other half. Its step is
    exact where the features span the batch: choose `hidden_features` larger than the number of rows.

    Args:
        in_features: width of the inputs.
        out_features: number of outputs, d_out.
        num_blocks: L.
        hidden_features: h, the width of the inverted bottleneck; None for none, then h = d/2.
        state_features: d, even; default: the larger of in_features and out_features, rounded up to even. Narrower
            inputs are lifted by a fixed injective map.
        activation: of all blocks but the first: a name (identity, relu, leaky_relu, tanh, gelu, silu, softplus, sin)
            or any callable.
        first_activation: of the first block. The authors' identity makes it linear in the inputs: it can then not be
            surjective for more than d/2 + 1 rows, and an exact step leaves it alone.
        bias: whether the couplings have one.
        init_std: weights and biases start at N(0, init_std^2).
        generator: source of all random numbers; torch's global one when None.
        device, dtype: of parameters and buffers.

    Raises:
        ValueError: sizes that do not make a network, a negative init_std, an unknown activation.

    Source: Buffelli, McGowan, Xu, Cioba, Shiu, Hennequin, Bernacchia, arXiv 2411.07979, section 5.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        num_blocks: int,
        hidden_features: int | None = None,
        state_features: int | None = None,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        first_activation: str | Callable[[Tensor], Tensor] = "identity",
        bias: bool = True,
        init_std: float = 1e-3,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if num_blocks < 1:
            raise ValueError(f"num_blocks must be at least 1, got {num_blocks}")
        width = max(in_features, out_features)
        state = width + width % 2 if state_features is None else state_features
        made: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}

        def coupling(index: int) -> Coupling:
            kind = activation if index else first_activation
            features = RandomFeatures(state // 2, hidden_features, activation=kind, **made)
            return Coupling(features, bias=bias, init_std=init_std, **made)

        # Made one by one when the widths have been checked.
        blocks = (ReversibleBlock(coupling(index), coupling(index)) for index in range(num_blocks))
        super().__init__(blocks, in_features=in_features, out_features=out_features, state_features=state, **made)
