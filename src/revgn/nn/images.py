"""Images as states of reversible networks: patches in place of pixels, and blocks that share weights over them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from revgn.nn.blocks import ReversibleBlock, ReversibleLayer
from revgn.nn.couplings import Coupling
from revgn.nn.features import RandomFeatures
from revgn.nn.fixed import Permutation
from revgn.nn.shared import Layout, SharedFeatures

ImageShape = tuple[int, int, int]
"""Channels, height and width of an image."""


@dataclass(frozen=True)
class Patches:
    """Images cut in patches of patch_size x patch_size pixels, each of which becomes one position of many channels.

    Args:
        image_shape: channels, height and width.
        patch_size: p; the C channels of an image become C p^2, half of them for either half of the state.

    Raises:
        ValueError: patches do not fill the image, or have an odd number of channels.
    """

    image_shape: ImageShape
    patch_size: int

    def __post_init__(self) -> None:
        shape, p = self.image_shape, self.patch_size
        if len(shape) != 3 or min(*shape, p) < 1:
            raise ValueError(
                f"expected image_shape=(channels, height, width) and patch_size, all at least 1, got {shape} and {p}"
            )
        if shape[1] % p or shape[2] % p:
            raise ValueError(f"patches of {p} x {p} pixels do not fill images of {shape[1]} x {shape[2]}")
        if shape[0] * p**2 % 2:
            raise ValueError(
                f"patches have {shape[0]} x {p} x {p} channels, an odd number that does not split in two halves; use "
                "an even patch_size"
            )

    @property
    def features(self) -> int:
        """Entries of an image, which are those of the state, d."""
        channels, height, width = self.image_shape
        return channels * height * width

    @property
    def height(self) -> int:
        """Rows of patches."""
        return self.image_shape[1] // self.patch_size

    @property
    def width(self) -> int:
        """Columns of patches."""
        return self.image_shape[2] // self.patch_size

    @property
    def half_channels(self) -> int:
        """Channels of a patch in one half of the state, q."""
        return self.image_shape[0] * self.patch_size**2 // 2

    def order(self, device: torch.device | str | None = None) -> Tensor:
        """The order, (d,), of the entries of an image in the state: half, row and column of patches, channel.

        A channel of a patch is a channel of the image at one place in the patch, in this order: so the halves of a
        state are images of their own, with other channels.
        """
        channels, p = self.image_shape[0], self.patch_size
        entries = torch.arange(self.features, device=device)
        patches = entries.view(channels, self.height, p, self.width, p).permute(1, 3, 0, 2, 4)
        return patches.reshape(self.height, self.width, 2, -1).permute(2, 0, 1, 3).flatten()


def image_blocks(
    patches: Patches,
    f: Layout,
    g: Layout,
    *,
    num_blocks: int,
    hidden_features: int | None,
    activation: str | Callable[[Tensor], Tensor],
    first_activation: str | Callable[[Tensor], Tensor],
    bias: bool,
    init_std: float,
    **made: Any,
) -> list[ReversibleLayer]:
    """The permutation to patches, and blocks whose half-couplings have random features at the positions of a layout.

    Args:
        patches: how images are cut.
        f, g: the layouts of the half-couplings.
        num_blocks, hidden_features, activation, first_activation, bias, init_std: as of `revgn.RevMLP`.
        made: generator, device and dtype.

    Raises:
        ValueError: num_blocks is below 1, and what the couplings and features refuse.
    """
    if num_blocks < 1:
        raise ValueError(f"num_blocks must be at least 1, got {num_blocks}")

    def coupling(layout: Layout, index: int) -> Coupling:
        kind = activation if index else first_activation
        features = RandomFeatures(layout.seen, hidden_features, activation=kind, **made)
        return Coupling(SharedFeatures(features, layout), bias=bias, init_std=init_std, **made)

    blocks = [ReversibleBlock(coupling(f, index), coupling(g, index)) for index in range(num_blocks)]
    return [Permutation(patches.order(made["device"])), *blocks]
