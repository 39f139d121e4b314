"""Reversible networks: lift, reversible layers, readout."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from revgn.linear.sharded import is_sharded
from revgn.nn.blocks import ReversibleLayer


class ReversibleNetwork(nn.Module):
    """F = X_L U with X_0 = x A and X_l = block_l(X_{l-1}); everything but the couplings' weights is fixed.

    `RevMLP` is the ready-made one. Build this from blocks of your own for other features or other reversible layers.

    Args:
        blocks: the reversible layers, in order; at least one. Kept as a `torch.nn.ModuleList`.
        in_features: width of the inputs.
        out_features: number of outputs, d_out.
        state_features: width d of the state: even, and no smaller than `in_features` and `out_features`.
        generator: source of A and U; torch's global one when None.
        device, dtype: of A and U.

    Attributes:
        lift: A, (in_features, d) with orthonormal rows, or None where in_features = d.
        readout: U, (d, d_out) with orthonormal columns.

    Raises:
        ValueError: no blocks, sizes below 1, an odd state, or one too narrow for the inputs or outputs.
        TypeError: a block is no `ReversibleLayer`.
    """

    lift: Tensor | None
    readout: Tensor

    def __init__(
        self,
        blocks: Iterable[ReversibleLayer],
        *,
        in_features: int,
        out_features: int,
        state_features: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if min(in_features, out_features) < 1:
            raise ValueError(f"a network needs inputs and outputs, got {in_features=} and {out_features=}")
        if state_features % 2:
            raise ValueError(f"the state splits in two halves: state_features must be even, got {state_features}")
        widest = max(in_features, out_features)
        if state_features < widest:
            raise ValueError(
                f"state_features={state_features} cannot carry {in_features} inputs and {out_features} outputs; "
                f"use at least {widest}"
            )
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.state_features = state_features
        self.blocks = nn.ModuleList(blocks)
        if len(self.blocks) == 0:
            raise ValueError("a reversible network needs at least one block, got none")
        for block in self.blocks:
            if not isinstance(block, ReversibleLayer):
                raise TypeError(f"block {type(block).__name__} is no revgn.nn.ReversibleLayer; derive it from that")

        def orthonormal(columns: int) -> Tensor:
            gaussian = torch.randn(state_features, columns, generator=generator, device=device, dtype=dtype)
            return torch.linalg.qr(gaussian).Q

        lift = None if in_features == state_features else orthonormal(in_features).T.contiguous()
        self.register_buffer("lift", lift)
        self.register_buffer("readout", orthonormal(out_features))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs F, (n, d_out), for inputs (n, in_features)."""
        return self.state(inputs) @ self.readout

    def state(self, inputs: Tensor) -> Tensor:
        """The last state X_L, (n, d), for inputs (n, in_features)."""
        state = self.lifted(inputs)
        for block in self.blocks:
            state = block(state)
        return state

    def inverse(self, state: Tensor) -> Tensor:
        """The inputs, (n, in_features), whose last state is `state`, (n, d).

        Where the inputs were lifted, states that no input reaches give the inputs nearest to them.

        Raises:
            ValueError, TypeError: the state has another shape, dtype or device than the network's.
        """
        self._check("state", state, self.state_features)
        for block in reversed(self.layers):
            state = block.inverse(state)
        return state if self.lift is None else state @ _right_inverse(self.lift)

    def lifted(self, inputs: Tensor) -> Tensor:
        """The first state X_0 = x A, (n, d).

        Raises:
            ValueError, TypeError: the inputs have another shape, dtype or device than the network's.
        """
        self._check("inputs", inputs, self.in_features)
        return inputs if self.lift is None else inputs @ self.lift

    def readout_inverse(self) -> Tensor:
        """U^+, (d_out, d): direction @ U^+ is the least tangent of the last state that moves the outputs by direction.

        This is U^T; the pseudo-inverse repairs what U lost of its orthonormality to a change of dtype.
        """
        return _right_inverse(self.readout.mT).mT

    @property
    def layers(self) -> list[ReversibleLayer]:
        """The blocks as a plain list."""
        return [block for block in self.blocks if isinstance(block, ReversibleLayer)]

    def _check(self, name: str, given: Tensor, width: int) -> None:
        if is_sharded(given):
            raise TypeError(
                f"{name} is a DTensor; each process needs all rows as a plain tensor, whatever the network's features "
                f"are distributed over: {name}.full_tensor()"
            )
        if given.ndim != 2 or given.shape[1] != width:
            raise ValueError(
                f"{name} of shape {tuple(given.shape)}; expected (n, {width}): "
                + ("flatten each row" if given.ndim > 2 else "check the width of the rows")
            )
        if given.dtype != self.readout.dtype:
            raise TypeError(
                f"{name} of {given.dtype}, but the network is {self.readout.dtype}; convert one: "
                f"{name}.to({self.readout.dtype})" + (" or model.double()" if given.dtype == torch.float64 else "")
            )
        if given.device != self.readout.device:
            raise ValueError(
                f"{name} on {given.device}, but the network is on {self.readout.device}; "
                f"move one: {name}.to({str(self.readout.device)!r})"
            )


def _right_inverse(wide: Tensor) -> Tensor:
    """W^T (W W^T)^-1, the right inverse of a well-conditioned wide matrix."""
    return torch.linalg.solve_ex(wide @ wide.mT, wide)[0].mT  # without an answer that a GPU would be waited for
