"""Fixed linear layers between reversible blocks: they mix what the blocks keep apart, and have no parameters."""

from collections.abc import Sequence

import torch
from torch import Tensor

from revgn.nn.blocks import ReversibleLayer


class Permutation(ReversibleLayer):
    """The state in another order: entry k of the output is entry order[k] of the input.

    Args:
        order: a permutation of 0 ... d - 1, (d,).

    Raises:
        ValueError: some entry is missing or there twice.
    """

    order: Tensor

    def __init__(self, order: Tensor | Sequence[int]) -> None:
        super().__init__()
        order = torch.as_tensor(order)
        if order.ndim != 1 or order.sort().values.tolist() != list(range(len(order))):
            raise ValueError(f"order of shape {tuple(order.shape)} is no permutation: expected each of 0 ... d-1 once")
        self.register_buffer("order", order.long())

    def forward(self, state: Tensor) -> Tensor:
        return state[:, self.order]

    def inverse(self, state: Tensor) -> Tensor:
        return state[:, self.order.argsort()]

    def pull_back(self, at: Tensor, tangent: Tensor) -> Tensor:
        return self.inverse(tangent)

    def extra_repr(self) -> str:
        return f"{len(self.order)}"


class InvertibleLinear(ReversibleLayer):
    """Every m entries of the state, one after another, times a fixed invertible matrix M: x -> x M.

    With m = d the whole state is mixed; with m the channels of a pixel, where those come together, it is an invertible
    1 x 1 convolution. Cost: n d m, and m^3 for the inverse, which is solved for and never formed.

    Args:
        matrix: M, (m, m), for a state of d entries, a multiple of m.

    Raises:
        ValueError: the matrix is not square, or singular in its precision.
    """

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.is_floating_point():
            raise ValueError(f"expected a square matrix of floats, got {tuple(matrix.shape)} of {matrix.dtype}")
        condition = float(torch.linalg.cond(matrix, 1))
        if not condition < 1 / torch.finfo(matrix.dtype).eps:
            raise ValueError(f"the matrix is singular in {matrix.dtype}: its condition number is {condition:.1e}")
        self.register_buffer("matrix", matrix.detach().clone())

    @classmethod
    def orthogonal(
        cls,
        features: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> "InvertibleLinear":
        """A random orthogonal M, (features, features), which changes no norm and loses no digits."""
        gaussian = torch.randn(features, features, generator=generator, device=device, dtype=dtype)
        return cls(torch.linalg.qr(gaussian).Q)

    def forward(self, state: Tensor) -> Tensor:
        return (self._groups(state) @ self.matrix).view_as(state)

    def inverse(self, state: Tensor) -> Tensor:
        # Solved for every time: M^T would do for an orthogonal M, but not to rounding after a change of dtype.
        return torch.linalg.solve_ex(self.matrix, self._groups(state), left=False)[0].view_as(state)

    def pull_back(self, at: Tensor, tangent: Tensor) -> Tensor:
        return self.inverse(tangent)

    def _groups(self, state: Tensor) -> Tensor:
        if state.shape[-1] % len(self.matrix):
            raise ValueError(
                f"a state of width {state.shape[-1]} does not split in groups of {len(self.matrix)}; use a matrix "
                "whose size divides it"
            )
        return state.reshape(-1, len(self.matrix))

    def extra_repr(self) -> str:
        return f"{len(self.matrix)}"
