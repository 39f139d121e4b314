"""RevMixer, a reversible network that mixes tokens and channels in turn."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from revgn.nn.blocks import ReversibleBlock
from revgn.nn.couplings import Coupling
from revgn.nn.images import ImageShape, Patches
from revgn.nn.network import ReversibleNetwork
from revgn.nn.random_features import RandomFeatures
from revgn.nn.shared import Layout, SharedFeatures, Tokens, Windows


class RevMixer(ReversibleNetwork):
    """A reversible MLP-Mixer: in each block f mixes the tokens of every channel, and g the channels of every token.

    Tokens are patches of an image, with channels * patch_size^2 channels (`model.blocks[0]`, a permutation), half of
    them in either half of the state. With P tokens of q channels in a half, f maps h random features of the P values of
    a channel to P, by weights that are shared over channels, and g those of the q values of a token to q, by weights
    that are shared over tokens:

        model = revgn.RevMixer((3, 32, 32), 10, patch_size=8, num_blocks=2, hidden_features=3200)  # P = 16, q = 96
        outputs = model(images.flatten(1))

    The reversible step is exact where `hidden_features` is at least n max(P, q) for n rows, and neither two channels
    nor two tokens of the batch are alike. Elsewhere it is least squares, and says so; 'moore-penrose' needs neither.

    Args:
        image_shape: channels, height and width. Inputs are flattened images, (n, channels * height * width), as those
            of `revgn_lab.data`; the state is as wide.
        out_features: number of outputs, d_out.
        patch_size: side of the patches, which fill the image; channels * patch_size^2 must be even.
        num_blocks: L, each of a token-mixing and a channel-mixing layer.
        hidden_features: h, of both; None for the activation of what they see itself.
        activation: of all blocks but the first: a name (identity, relu, leaky_relu, tanh, gelu, silu, softplus, sin)
            or any callable.
        first_activation: of the first block. As in `RevMLP` it is linear unless told otherwise, and is then left alone
            by an exact step.
        bias: whether the couplings have one.
        init_std: weights and biases start at N(0, init_std^2).
        generator: source of all random numbers; torch's global one when None.
        device, dtype: of parameters and buffers.

    Raises:
        ValueError: sizes that do not make a network, a negative init_std, an unknown activation.

    Source: Tolstikhin et al. (2021), MLP-Mixer, with additive couplings in place of residual connections.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        out_features: int,
        *,
        patch_size: int,
        num_blocks: int,
        hidden_features: int | None = None,
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
        patches = Patches(image_shape, patch_size)
        tokens = Tokens(patches.height * patches.width, patches.half_channels)
        channels = Windows(patches.half_channels, patches.height, patches.width, kernel_size=1)
        made: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}

        def coupling(layout: Layout, index: int) -> Coupling:
            kind = activation if index else first_activation
            features = RandomFeatures(layout.seen, hidden_features, activation=kind, **made)
            return Coupling(SharedFeatures(features, layout), bias=bias, init_std=init_std, **made)

        blocks = [ReversibleBlock(coupling(tokens, index), coupling(channels, index)) for index in range(num_blocks)]
        layers = [patches.permutation(device), *blocks]
        d = patches.features
        super().__init__(layers, in_features=d, out_features=out_features, state_features=d, **made)
