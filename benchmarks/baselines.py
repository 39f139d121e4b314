"""Baselines that torch does not have: FOOF and Newton-Muon, both of which divide by the covariance of a layer's inputs.

Both replace the gradient G (q, h) of a linear layer by G (M + lambda I)^-1, M (h, h) the running mean of Phi^T Phi / n
over batches, Phi (n, h) what the layer was given. FOOF then takes a step with momentum, Newton-Muon one of Muon's.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Muon


class InputCovariance:
    """The running covariance M of one layer's inputs, and (M + lambda I)^-1 times its gradient.

    M <- decay M + (1 - decay) Phi^T Phi / n on the first batches at growing distances (0, 1, 2, 4, ...), then on every
    `every`-th, divided by 1 - decay^t for what the start at zero leaves out. In between the inverse is kept. This is
    the warm-up of `revgn.solvers.RunningCurvature`: nobody is to win by a better one.

    Args:
        layer: its inputs (n, h) are seen by a hook, in passes that autograd records.
        bias: whether Phi has a column of ones, so that weight and bias are solved for together.
        damping: lambda relative to the mean diagonal of M; positive.
    """

    def __init__(self, layer: nn.Linear, *, bias: bool, damping: float, decay: float, every: int) -> None:
        self.layer = layer
        self.bias = bias
        self.damping = damping
        self.decay = decay
        self.every = every
        self._batches = self._updates = self._refreshed = 0
        self._inputs: Tensor | None = None
        self._mean: Tensor | None = None
        self._inverse: Tensor | None = None
        layer.register_forward_pre_hook(self._see)

    def precondition_(self) -> None:
        """Replace the layer's gradient by its product with the inverse.

        Raises:
            FloatingPointError: M + lambda I is not positive definite, or not finite.
        """
        if self._inputs is not None:
            self._refresh(self._inputs)
            self._inputs = None
        self._batches += 1
        weight, bias = self.layer.weight, self.layer.bias
        if weight.grad is None or self._inverse is None:
            raise RuntimeError("no gradient to precondition; call loss.backward() before step()")
        if not self.bias:
            weight.grad = weight.grad @ self._inverse
            return
        joint = torch.cat((weight.grad, bias.grad[:, None]), dim=1) @ self._inverse  # (q, h + 1)
        weight.grad, bias.grad = joint[:, :-1].contiguous(), joint[:, -1].contiguous()

    def _see(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        due = self._mean is None or self._batches - self._refreshed >= min(self.every, max(1, self._refreshed))
        if due and torch.is_grad_enabled():
            self._inputs = inputs[0].detach()

    def _refresh(self, inputs: Tensor) -> None:
        phi = torch.cat((inputs, inputs.new_ones(len(inputs), 1)), dim=1) if self.bias else inputs
        covariance = phi.mT @ phi / len(phi)  # (h, h)
        if self._mean is None:
            self._mean = torch.zeros_like(covariance)
        self._mean.lerp_(covariance, 1 - self.decay)
        self._updates += 1
        self._refreshed = self._batches
        damped = self._mean / (1 - self.decay**self._updates)
        damped.diagonal().add_(self.damping * damped.diagonal().mean())
        factor, failed = torch.linalg.cholesky_ex(damped)
        if failed or not bool(factor.isfinite().all()):
            raise FloatingPointError("the covariance of a layer's inputs cannot be factored: damping too small")
        self._inverse = torch.cholesky_inverse(factor)


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """The layers whose inputs count."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


class FOOF(SGD):
    """W <- W - lr times the momentum of G (M + lambda I)^-1, weights and biases together.

    Source: Benzing, "Gradient descent on neurons and its link to approximate second-order optimization", ICML 2022,
    arXiv 2201.12250. Here lambda is relative to M's mean diagonal, and the warm-up of M is corrected for.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        *,
        damping: float,
        momentum: float = 0.9,
        decay: float = 0.95,
        every: int = 20,
    ) -> None:
        super().__init__(model.parameters(), lr=lr, momentum=momentum)
        self._covariances = [
            InputCovariance(layer, bias=layer.bias is not None, damping=damping, decay=decay, every=every)
            for layer in linear_layers(model)
        ]

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As torch's, on preconditioned gradients."""
        for covariance in self._covariances:
            covariance.precondition_()
        super().step()


class NewtonMuon(Muon):
    """Muon on G (M + lambda I)^-1, for the weights of linear layers; biases are left to another optimizer.

    The preconditioned gradient goes through momentum and orthogonalisation as Muon's own would.

    Source: Du and Su, "The Newton-Muon optimizer", arXiv 2604.01472: decay .95, lambda .2 of M's mean diagonal, a
    refresh every 32 steps. They leave the gradient alone until the first of these; here the first batch is one.
    """

    def __init__(
        self, model: nn.Module, lr: float, *, damping: float = 0.2, decay: float = 0.95, every: int = 20, **options: Any
    ) -> None:
        layers = linear_layers(model)
        super().__init__([layer.weight for layer in layers], lr=lr, **options)
        self._covariances = [
            InputCovariance(layer, bias=False, damping=damping, decay=decay, every=every) for layer in layers
        ]

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As torch's, on preconditioned gradients."""
        for covariance in self._covariances:
            covariance.precondition_()
        super().step()
