"""Features at each of several positions of a half state, for weights that are shared over positions."""

import abc
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from revgn.linear import Product
from revgn.nn.activations import Jvp
from revgn.nn.random_features import Features


class Layout(abc.ABC):
    """How half a state, (n, d/2), is laid out in T positions: what the weights see at each, and what they give there.

    What belongs to one row of the batch stays together: rows i T to (i + 1) T - 1 are those of row i.
    """

    @property
    @abc.abstractmethod
    def positions(self) -> int:
        """T, how many there are."""

    @property
    @abc.abstractmethod
    def seen(self) -> int:
        """How many entries a position sees."""

    @property
    @abc.abstractmethod
    def given(self) -> int:
        """How many entries of the half belong to a position, d/2T."""

    @abc.abstractmethod
    def see(self, half: Tensor) -> Tensor:
        """What each position sees of a half, (n T, seen): linear and fixed."""

    @abc.abstractmethod
    def split(self, half: Tensor) -> Tensor:
        """The half by position, (n T, given)."""

    @abc.abstractmethod
    def join(self, rows: Tensor) -> Tensor:
        """The inverse of `split`."""


@dataclass(frozen=True)
class Windows(Layout):
    """Convolution: each pixel of (height, width, channels) sees the kernel_size x kernel_size pixels around it.

    What lies beyond the edge counts as zero ("same" padding). With kernel_size 1 a pixel sees its own channels alone.

    Args:
        channels, height, width: of half a state, whose entries come pixel by pixel, the channels of each together.
        kernel_size: odd.

    Raises:
        ValueError: sizes below 1, or an even kernel_size.
    """

    channels: int
    height: int
    width: int
    kernel_size: int = 3

    def __post_init__(self) -> None:
        if min(self.channels, self.height, self.width) < 1:
            raise ValueError(f"channels, height and width must be at least 1, got {self}")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size={self.kernel_size}: a window has a pixel in its middle, so use an odd size such as 3"
            )

    @property
    def positions(self) -> int:
        return self.height * self.width

    @property
    def seen(self) -> int:
        return self.channels * self.kernel_size**2

    @property
    def given(self) -> int:
        return self.channels

    def see(self, half: Tensor) -> Tensor:
        """The windows, (n T, channels * kernel_size^2), in the order in which torch keeps the kernels of a Conv2d."""
        if self.kernel_size == 1:
            return self.split(half)
        images = half.unflatten(1, (self.height, self.width, self.channels)).movedim(-1, 1)
        return functional.unfold(images, self.kernel_size, padding=self.kernel_size // 2).mT.flatten(0, 1)

    def split(self, half: Tensor) -> Tensor:
        return half.reshape(-1, self.channels)

    def join(self, rows: Tensor) -> Tensor:
        return rows.reshape(-1, self.positions * self.channels)


@dataclass(frozen=True)
class Tokens(Layout):
    """Token mixing: each channel of (tokens, channels) sees its values at all tokens, and gives a value to each.

    The weights are shared over channels, which are the positions here.

    Args:
        tokens, channels: of half a state, whose entries come token by token, the channels of each together.

    Raises:
        ValueError: sizes below 1.

    Source: the token-mixing layer of Tolstikhin et al. (2021), MLP-Mixer.
    """

    tokens: int
    channels: int

    def __post_init__(self) -> None:
        if min(self.tokens, self.channels) < 1:
            raise ValueError(f"tokens and channels must be at least 1, got {self}")

    @property
    def positions(self) -> int:
        return self.channels

    @property
    def seen(self) -> int:
        return self.tokens

    @property
    def given(self) -> int:
        return self.tokens

    def see(self, half: Tensor) -> Tensor:
        return self.split(half)

    def split(self, half: Tensor) -> Tensor:
        return half.unflatten(1, (self.tokens, self.channels)).mT.flatten(0, 1)

    def join(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (-1, self.channels)).mT.flatten(1)


class SharedFeatures(Features):
    """Phi at each of T positions of a half, by the same features of what the position sees.

        layout = Windows(channels=6, height=16, width=16, kernel_size=3)
        Coupling(SharedFeatures(RandomFeatures(layout.seen, 2000), layout))

    is a convolution: 2000 frozen random 3 x 3 kernels, ReLU, and a trainable 1 x 1 convolution back to 6 channels. The
    features of n rows have n T rows. A step that is exact in each coupling by itself, as `Reversible` takes it, needs
    them to be independent: no fewer features than n T, and no two windows in the batch alike.

    Args:
        features: of one position, from (m, seen) to (m, h).
        layout: what each position sees, and gives.

    Raises:
        ValueError: the features take another width than a position sees, or are themselves of several positions.
    """

    def __init__(self, features: Features, layout: Layout) -> None:
        if features.in_features != layout.seen or features.positions != 1:
            raise ValueError(
                f"each position of {layout} sees {layout.seen} entries, but the features take {features.in_features} "
                f"at {features.positions} position(s); expected features of {layout.seen} inputs at one position"
            )
        super().__init__(layout.positions * layout.given, features.out_features)
        self.features = features
        self.layout = layout
        self.positions = layout.positions

    def forward(self, inputs: Tensor) -> Tensor:
        return self.features(self.layout.see(inputs))

    def jvp(self, inputs: Tensor, tangent: Tensor) -> Tensor:
        return self.features.jvp(self.layout.see(inputs), self.layout.see(tangent))

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Jvp]:
        features, push_forward = self.features.linearize(self.layout.see(inputs))
        return features, lambda tangent: push_forward(self.layout.see(tangent))

    def product(self, inputs: Tensor) -> Product | None:
        return self.features.product(self.layout.see(inputs))

    def split(self, half: Tensor) -> Tensor:
        return self.layout.split(half)

    def join(self, rows: Tensor) -> Tensor:
        return self.layout.join(rows)

    @property
    def max_rank(self) -> int:
        return self.features.max_rank

    def extra_repr(self) -> str:
        return f"{self.layout}"
