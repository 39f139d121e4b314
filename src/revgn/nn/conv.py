"""RevConv, a reversible convolutional network."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from revgn.nn.blocks import ReversibleBlock
from revgn.nn.couplings import Coupling
from revgn.nn.images import ImageShape, Patches
from revgn.nn.network import ReversibleNetwork
from revgn.nn.random_features import RandomFeatures
from revgn.nn.shared import SharedFeatures, Windows


class RevConv(ReversibleNetwork):
    """A reversible convolutional network: `RevMLP` with weights that are shared over the positions of an image.

    Images are cut in patches, each a position of channels * patch_size^2 channels (`model.blocks[0]`, a permutation).
    Each block then adds to either half of the channels a 1 x 1 convolution of frozen random features of the other half
    in a window of kernel_size x kernel_size patches, beyond the edge of which all is zero:

        model = revgn.RevConv((3, 32, 32), 10, patch_size=8, num_blocks=2, hidden_features=1200)  # 16 positions
        outputs = model(images.flatten(1))

    The reversible step is exact where the features tell all windows of the batch apart: `hidden_features` must be at
    least the number of rows times that of positions, (height / patch_size) (width / patch_size), and no two windows may
    be alike, as the black edges of digits are. Elsewhere it is least squares, and says so; 'moore-penrose' needs
    neither.

    Args:
        image_shape: channels, height and width. Inputs are flattened images, (n, channels * height * width), as those
            of `revgn_lab.data`; the state is as wide.
        out_features: number of outputs, d_out.
        patch_size: side of the patches, which fill the image; channels * patch_size^2 must be even.
        num_blocks: L, of convolutions.
        hidden_features: h, the number of frozen kernels; None for the activation of the windows themselves.
        kernel_size: side of the windows, in patches: odd.
        activation: of all blocks but the first: a name (identity, relu, leaky_relu, tanh, gelu, silu, softplus, sin)
            or any callable.
        first_activation: of the first block. As in `RevMLP` it is linear unless told otherwise, and is then left alone
            by an exact step.
        bias: whether the couplings have one, the same at all positions.
        init_std: weights and biases start at N(0, init_std^2).
        generator: source of all random numbers; torch's global one when None.
        device, dtype: of parameters and buffers.

    Raises:
        ValueError: sizes that do not make a network, a negative init_std, an unknown activation.

    Source: additive couplings as in Gomez et al. (2017), The Reversible Residual Network; features as in `RevMLP`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        out_features: int,
        *,
        patch_size: int,
        num_blocks: int,
        hidden_features: int | None = None,
        kernel_size: int = 3,
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
        windows = Windows(patches.half_channels, patches.height, patches.width, kernel_size)
        made: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}

        def coupling(index: int) -> Coupling:
            kind = activation if index else first_activation
            features = RandomFeatures(windows.seen, hidden_features, activation=kind, **made)
            return Coupling(SharedFeatures(features, windows), bias=bias, init_std=init_std, **made)

        blocks = [ReversibleBlock(coupling(index), coupling(index)) for index in range(num_blocks)]
        layers = [patches.permutation(device), *blocks]
        d = patches.features
        super().__init__(layers, in_features=d, out_features=out_features, state_features=d, **made)
