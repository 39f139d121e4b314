"""The half of an optimizer that is shared: a direction of our own, applied by torch's SGD."""

import abc
import math
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from revgn.losses import GaussNewtonLoss, LossPoint
from revgn.optim.precision import full_precision
from revgn.optim.report import Report
from revgn.solvers.base import EXACT

Model = TypeVar("Model", bound=nn.Module)


class DirectionOptimizer(torch.optim.SGD, abc.ABC, Generic[Model]):
    """An SGD whose gradient is replaced by a direction: `backward` writes it, SGD's own `step` applies it.

    Momentum, weight decay, parameter groups, learning rate schedulers and `state_dict` are therefore torch's own.

    Args:
        model: the network to train.
        loss: from `revgn.losses`.
        params: parameters or parameter groups, as torch's optimizers take them; None: every trainable parameter.
        lr: 1 is the full Newton step.
        momentum, dampening, weight_decay, nesterov: as in `torch.optim.SGD`.

    Raises:
        TypeError: the model is no module, or the loss knows no direction.
        ValueError: an option out of range, parameters that are not float32 or float64.
    """

    def __init__(
        self,
        model: Model,
        loss: GaussNewtonLoss,
        *,
        params: Iterable[Any] | None = None,
        lr: float = 1.0,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if not isinstance(loss, GaussNewtonLoss):
            raise TypeError(
                f"loss {type(loss).__name__} knows no Gauss-Newton direction; use revgn.losses.MSELoss, "
                "CrossEntropyLoss or BCEWithLogitsLoss, or a subclass of revgn.losses.GaussNewtonLoss"
            )
        self.model = model
        self.loss = loss
        if params is None:
            params = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )
        for name, parameter in self._named_parameters().items():
            if parameter.dtype not in EXACT:
                raise ValueError(f"{name} is {parameter.dtype}; Gauss-Newton needs float32 or float64: model.float()")

    def backward(self, inputs: Tensor, targets: Tensor) -> Report:
        """Write the step into every parameter's `.grad`, in place of `loss.backward()`; then call `step()`.

        What stands in `.grad` is then not the gradient but the direction J^-1 r, zero for parameters that the step
        leaves alone. Whatever stood there is replaced: steps do not accumulate.

        Args:
            inputs: (n, in_features), of the model's dtype and device.
            targets: as the loss takes them.

        Raises:
            ValueError, TypeError: inputs or targets have the wrong shape, dtype, device or values.
            FloatingPointError: the loss or the step is not finite. Neither parameters nor `.grad` were touched.
        """
        steps, report = self._checked_direction(inputs, targets)
        for name, parameter in self._named_parameters().items():
            parameter.grad = steps[name] if name in steps else torch.zeros_like(parameter)
        return report

    def direction(self, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The step by parameter name, as `backward` would write it, without touching `.grad`."""
        steps, _ = self._checked_direction(inputs, targets)
        return {name: steps.get(name, torch.zeros_like(p)) for name, p in self._named_parameters().items()}

    @abc.abstractmethod
    def _direction(self, inputs: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Report]:
        """The step by parameter name (those left alone may be missing), and its report; autograd is off."""

    def _checked_direction(self, inputs: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Report]:
        if inputs.ndim > 0 and len(inputs) == 0:
            raise ValueError("an empty batch: 0 rows; expected at least one")
        with full_precision(self.param_groups[0]["params"][0].device):
            steps, report = self._direction(inputs, targets)
        # A sum is one pass and is finite only if every entry is, short of overflow, which is no step either.
        sums = torch.stack([step.sum() for step in steps.values()]).tolist()
        for name, total in zip(steps, sums, strict=True):
            if not math.isfinite(total):
                raise FloatingPointError(f"the step for {name} is not finite; add damping or lower the learning rate")
        return steps, report

    def _loss_at(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> tuple[LossPoint, float]:
        """The loss around the outputs, and its value there.

        Raises:
            FloatingPointError: it is not finite; the message says where the cause may lie.
        """
        point = self.loss.at(outputs, targets)
        value = float(point.value)
        if math.isfinite(value):
            return point, value
        raise FloatingPointError(f"the loss is {value}: {_blame(inputs, outputs, targets)}; no parameter was changed")

    def _named_parameters(self) -> Mapping[str, nn.Parameter]:
        """The parameters of this optimizer, by their names in the model."""
        chosen = {id(p) for group in self.param_groups for p in group["params"]}
        return {name: p for name, p in self.model.named_parameters() if id(p) in chosen}


def _blame(inputs: Tensor, outputs: Tensor, targets: Tensor) -> str:
    for what, tensor in (("inputs", inputs), ("targets", targets), ("outputs", outputs)):
        bad = (~torch.isfinite(tensor)).reshape(len(tensor), -1).any(-1).nonzero().flatten().tolist()
        if bad:
            rows = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
            advice = "lower the learning rate" if what == "outputs" else "remove or impute them"
            return f"{what} hold NaN or infinity in {len(bad)} of {len(tensor)} rows ({rows}); {advice}"
    return "the outputs are finite but too large; lower the learning rate"
