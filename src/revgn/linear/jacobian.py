"""The Jacobian of any module's outputs by its parameters, as a linear map: products, tangent kernel, all of it."""

import functools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from revgn._sizes import require_room
from revgn.linear import functional
from revgn.linear.functional import Change, Inputs, full_precision, plain_kernels
from revgn.linear.jacobian_blocks import ALL_ROWS, Block, GradientBlock, add_pair_terms
from revgn.linear.plan import PROBED, make_plan
from revgn.linear.recording import Call, blocks, record
from revgn.linear.refusals import refuse_difference
from revgn.linear.sharded import is_sharded
from revgn.linear.shards import take


class Jacobian:
    """J = dF / dtheta, (n d_out, P), of a module's outputs F by its parameters theta, at a batch of n rows.

    Row i d_out + a belongs to output a of row i. J is not held: `apply` is a JVP, `adjoint` a backward pass, and
    `gram`, the (empirical neural) tangent kernel K = J J^T, is a sum over layers: a Hadamard product of two Gram
    matrices for each that is linear in its parameters (torch.nn's Linear, Conv1d, Conv2d, Embedding, norms, and what is
    registered with `revgn.nn.layer_uses`), by per-example gradients for all other parameters. What layers say of
    themselves is checked against autograd on 8 rows.

        kernel = revgn.Jacobian(model, inputs).gram()

    Cost of `gram`: a forward pass, d_out backward passes, sum over layers of n^2 p + n^2 d_out^2 q for layers p to q;
    memory 8 (n d_out)^2 bytes, and the activations.

    Args:
        model: any module whose rows do not depend on each other, with outputs (n, d_out).
        inputs: (n, ...); a tuple for several positional arguments, a dict for keyword arguments.
        parameters: those to differentiate by; None: all that are trainable.
        compare_rows: whether a few rows' outputs are compared with those that they have alone, which tells whether rows
            depend on each other; an optimizer that certifies its steps does so itself.

    Attributes:
        parameters: theta, in the order of J's columns.
        rows: n.
        d_out, dtype, device: of the outputs.

    Raises:
        ValueError: nothing is trainable; outputs that are not (n, d_out); rows that depend on each other (BatchNorm in
            training mode); randomness (Dropout in training mode); a forward pass that changes buffers; no rows.
        TypeError: parameters or outputs that are neither float32 nor float64.
        MemoryError: `gram` or `dense` would take more memory than the machine has.

    Source: Jacot et al. (2018); layer by layer as in Novak, Sohl-Dickstein, Schoenholz (2022).
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        parameters: Iterable[nn.Parameter] | None = None,
        *,
        compare_rows: bool = True,
    ) -> None:
        self.model, self.inputs = model, inputs
        self.rows = functional.count_rows(inputs)
        chosen = [p for p in model.parameters() if p.requires_grad] if parameters is None else parameters
        self.parameters: tuple[nn.Parameter, ...] = tuple(dict.fromkeys(chosen))
        check_parameters(model, self.parameters)
        self.device = self.parameters[0].device
        with full_precision(self.device):
            self._plan = make_plan(model, inputs, self.parameters)
        self.d_out, self.dtype = self._plan.d_out, self._plan.dtype
        self._compare_rows = compare_rows

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (n d_out, P) of J."""
        return self.rows * self.d_out, sum(p.numel() for p in self.parameters)

    @functools.cached_property
    def outputs(self) -> Tensor:
        """F, (n, d_out)."""
        if "_recorded" in vars(self) or "blocks" in vars(self):
            return self._outputs
        with full_precision(self.device), plain_kernels(self.model):
            return self._checked(functional.call(self.model, self.inputs))

    @functools.cached_property
    def blocks(self) -> Sequence[Block]:
        """The columns of J by layer, from one forward pass and d_out backward passes."""
        found = self._blocks(None)
        del self._recorded  # the graph is as large as all activations
        known = {p for block in found for p in block.parameters}
        others = tuple(p for p in self.parameters if p not in known)
        if others:
            found.append(GradientBlock(others, self.rows, self.d_out, lambda rows: self._gradients(rows, others)))
        return found

    def along(self, v: Tensor | None) -> Sequence[Block]:
        """The columns by layer of the Jacobian of one output, sum_a v_ia F_ia, for v (n, d_out): one backward pass.

        Without v, which is then zero, there is none: for the features of the layers alone. The forward pass is that of
        `blocks`. Layers that are not linear in their parameters are left out.
        """
        return self._blocks([v])

    @functools.cached_property
    def _recorded(self) -> tuple[Tensor, list[Call]]:
        """The forward pass, with its graph."""
        with full_precision(self.device):
            outputs, calls = record(self.model, self.inputs, self._plan.layered)
            self._outputs = self._checked(outputs.detach())
        return outputs, calls

    def _blocks(self, seeds: Sequence[Tensor | None] | None) -> list[Block]:
        with full_precision(self.device):
            return blocks(*self._recorded, seeds)

    def apply(self, change: Change, rows: "slice | Tensor" = ALL_ROWS) -> Tensor:
        """J Delta, (n, d_out), for a change of some of the parameters; by the layers where they are at hand.

        Args:
            change: Delta, by parameter; those left out stay.
            rows: of the batch, those that are wanted.
        """
        with full_precision(self.device):
            if "blocks" not in vars(self):
                return functional.jvp(self.model, take(self.inputs, rows), change)[1]
            moved = [block.apply(change, rows) for block in self.blocks if any(p in change for p in block.parameters)]
            return torch.stack(moved).sum(0) if moved else torch.zeros_like(self.outputs[rows])

    def adjoint(self, v: Tensor) -> dict[nn.Parameter, Tensor]:
        """J^T v by parameter, for v (n, d_out); by the layers where they are at hand, else one backward pass."""
        with full_precision(self.device):
            if "blocks" not in vars(self):
                with torch.enable_grad(), plain_kernels(self.model):
                    outputs = functional.call(self.model, self.inputs)
                return dict(zip(self.parameters, functional.pull_back(outputs, self.parameters, v), strict=True))
            found: dict[nn.Parameter, Tensor] = {}
            for block in self.blocks:
                found |= block.adjoint(v)
            return {p: found[p] for p in self.parameters}

    def gram(self) -> Tensor:
        """The tangent kernel K = J J^T, (n d_out, n d_out), float64, symmetric."""
        kernel = self.lower_gram()
        for start in range(0, len(kernel), 1024):  # by tiles: a mask of the kernel's size would be as large as it
            stop = start + 1024
            kernel[start:stop, start:stop] = torch.tril(kernel[start:stop, start:stop])
            kernel[start:stop, start:stop] += torch.tril(kernel[start:stop, start:stop], -1).mT
            kernel[start:stop, stop:] = kernel[stop:, start:stop].mT
        return kernel

    def lower_gram(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """As `gram`, but only the lower triangle is filled; in another dtype if that is asked."""
        n = self.shape[0]
        require_room(n * n * dtype.itemsize, f"the tangent kernel of {self.rows} rows and {self.d_out} outputs")
        return self._summed(torch.zeros(n, n, dtype=dtype, device=self.device))

    def mean_gram(self) -> Tensor:
        """The mean over outputs a of K[., a, ., a], (n, n), float64: a kernel of rows alone; its lower triangle."""
        require_room(8 * self.rows**2, f"the tangent kernel of {self.rows} rows")
        return self._summed(torch.zeros(self.rows, self.rows, dtype=torch.float64, device=self.device)) / self.d_out

    def _summed(self, kernel: Tensor) -> Tensor:
        with full_precision(self.device):
            add_pair_terms([term for block in self.blocks for term in block.pair_terms], kernel)
            for block in self.blocks:
                block.add_gram(kernel)
        return kernel

    def dense(self) -> Tensor:
        """J itself, (n d_out, P), columns in the order of `parameters`: for small problems."""
        outputs, entries = self.shape
        require_room(outputs * entries * self.dtype.itemsize, f"the Jacobian, {outputs} by {entries},")
        columns: dict[nn.Parameter, Tensor] = {}
        with full_precision(self.device):
            for block in self.blocks:
                whole = block.dense(slice(0, self.rows)).flatten(0, 1)
                parts = whole.split([p.numel() for p in block.parameters], dim=1)
                columns |= dict(zip(block.parameters, parts, strict=True))
        return torch.cat([columns[p] for p in self.parameters], dim=1)

    def _checked(self, outputs: Tensor) -> Tensor:
        # A strict part of the batch: all of it would have the same statistics whether rows depend on each other or not.
        if self._compare_rows and self.rows > 1:
            # Spread over the batch: sums along it leave the first rows, or the last, as they are.
            some = torch.linspace(0, self.rows - 1, min(PROBED, self.rows - 1), device=outputs.device).long()
            with plain_kernels(self.model):
                rows = take(self.inputs, some)
                refuse_difference(self.model, rows, outputs[some], functional.call(self.model, rows))
        return outputs

    def _gradients(self, rows: "slice | Tensor", parameters: Sequence[nn.Parameter]) -> Tensor:
        return self._plan.gradients(self.model, take(self.inputs, rows), parameters)


def check_parameters(model: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
    """Raise ValueError or TypeError unless these are parameters of the model, some, and float32 or float64."""
    if not parameters:
        raise ValueError("the model has no trainable parameter, so no Jacobian; call requires_grad_() on some")
    names = {p: name for name, p in model.named_parameters()}
    for p in parameters:
        if p not in names:
            raise ValueError(
                f"a parameter of shape {tuple(p.shape)} is not the model's; take parameters from model.parameters()"
            )
        if is_sharded(p):
            raise ValueError(
                f"{names[p]} is a DTensor, distributed over a mesh, and a Jacobian needs it whole; take that of the "
                "plain model: load a checkpoint into it"
            )
        if p.dtype not in (torch.float32, torch.float64):
            advice = "keep real and imaginary parts apart" if p.dtype.is_complex else "model.float() converts it"
            raise TypeError(f"{names[p]} is {p.dtype}; expected float32 or float64: {advice}")
