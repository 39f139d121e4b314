"""Images as states of reversible networks: patches in place of pixels."""

from dataclasses import dataclass

import torch

from revgn.nn.fixed_maps import Permutation

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

    def permutation(self, device: torch.device | str | None = None) -> Permutation:
        """From flattened images to states: the entries of an image by half, row and column of patches, channel.

        A channel of a patch is a channel of the image at one place in the patch, in this order; each half of a state
        is an image with half of them.
        """
        channels, p = self.image_shape[0], self.patch_size
        entries = torch.arange(self.features, device="cpu").view(channels, self.height, p, self.width, p)
        patches = entries.permute(1, 3, 0, 2, 4).reshape(self.height, self.width, 2, self.half_channels)
        order = patches.permute(2, 0, 1, 3).flatten()
        return Permutation(order).to(device or torch.get_default_device())
