"""What a fit found."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from revgn.fitting.endings import ADVICE
from revgn.fitting.uncertainty import Uncertainty, uncertainty
from revgn.linear import Inputs
from revgn.linear.functional import call
from revgn.optim import GaussNewton, Report

# Up to so many parameters all are printed, with their standard errors.
FEW = 30


@dataclass(eq=False)
class Fit:
    """The end of a fit.

    Attributes:
        model, optimizer: with the parameters that were found.
        ending: "converged", "stalled", "max_steps", "not_finite" or "stopped".
        reason: what it converged by ("gradient", "step", "loss"), or what stopped it.
        history: a dict for every step: step, loss, gain_ratio, damping, length, attempts, status, relative_step,
            relative_gradient, seconds since the start, phases (the seconds of `Report.seconds`).
        report: of the step that led to the parameters as they are; None if there was none.
        seconds: wall time.
    """

    model: nn.Module
    optimizer: GaussNewton
    inputs: Inputs = field(repr=False)
    targets: Tensor | None = field(repr=False)
    sample_weight: Tensor | None = field(repr=False)
    ending: str
    reason: str
    history: list[dict[str, Any]] = field(repr=False)
    report: Report | None = field(repr=False)
    seconds: float
    _uncertainty: Uncertainty | None = field(default=None, repr=False)

    @property
    def loss(self) -> float:
        """The loss at the end; NaN if no step was taken."""
        return float(self.history[-1]["loss"]) if self.history else float("nan")

    @property
    def steps(self) -> int:
        """Steps taken, rejected ones included."""
        return len(self.history)

    @property
    def phases(self) -> dict[str, float]:
        """Seconds by phase of all steps, see `Report.seconds`; the rest of `seconds` went to endings and callbacks."""
        total: dict[str, float] = {}
        for record in self.history:
            for phase, seconds in record["phases"].items():
                total[phase] = total.get(phase, 0.0) + seconds
        return total

    @property
    def converged(self) -> bool:
        """Whether the ending is "converged"."""
        return self.ending == "converged"

    @property
    def advice(self) -> str:
        """What to try next; empty for a fit that converged."""
        return ADVICE[self.ending]

    @property
    def uncertainty(self) -> Uncertainty:
        """Covariance of the parameters and noise, from J at the end; made on first use.

        Raises:
            MemoryError: neither J nor its kernel fits the machine.
        """
        if self._uncertainty is None:
            self._uncertainty = uncertainty(self.optimizer, self.inputs, self.targets, self.sample_weight, self.report)
        return self._uncertainty

    @property
    def standard_errors(self) -> dict[str, Tensor]:
        """The standard error of every parameter, by name and of its shape."""
        return self.uncertainty.standard_errors()

    @property
    def correlations(self) -> Tensor:
        """Correlations between the parameters, (P, P), in the order of `standard_errors`: for few parameters."""
        return self.uncertainty.correlations()

    @property
    def effective_parameters(self) -> float:
        """The parameters that the data determine: the trace of J (J^T J + lambda I)^-1 J^T."""
        return self.uncertainty.effective_parameters

    def predict(self, inputs: Inputs, *, std: bool = False, noise: bool = False) -> Any:
        """The model's outputs, (m, d_out), and if asked their standard deviations, by the linearised model.

        Args:
            inputs: m rows, as the model takes them.
            std: whether to return a pair (outputs, standard deviations), both (m, d_out).
            noise: whether the deviations are those of new observations, noise included, in place of the mean's.
        """
        with torch.no_grad():
            outputs = call(self.model, inputs)
        if not std:
            return outputs
        return outputs, self.uncertainty.deviations(self.model, inputs, noise=noise)

    def __str__(self) -> str:
        counts = Counter(record["status"] for record in self.history)
        accepted = sum(n for status, n in counts.items() if status not in ("rejected", "not finite"))
        by = f" by its {self.reason}" if self.converged and self.reason else f" ({self.reason})" if self.reason else ""
        last = self.report
        lines = [
            f"{self.ending}{by}: loss {self.loss:.8g} after {self.steps} steps, {accepted} accepted, "
            f"{sum(record['attempts'] for record in self.history)} tried, {self.seconds:.2f} s",
        ]
        lines += [f"  advice: {self.advice}"] if self.advice else []
        control = self.optimizer.control
        lines.append(f"  {type(self.optimizer).__name__}, {type(self.optimizer.loss).__name__}, {control}")
        if last is not None:
            rows, d_out = last.outputs.shape
            lines.append(f"  {rows} rows, {d_out} outputs, {str(last.outputs.dtype).removeprefix('torch.')}")
            lines.append(f"  {last.route}" if last.route else "  layer by layer")
            lines.append("  " + ", ".join(f"{phase} {seconds:.2g} s" for phase, seconds in self.phases.items()))
        lines += self._parameters() if last is not None else []
        return "\n".join(lines)

    def _parameters(self) -> list[str]:
        parameters = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        count = sum(p.numel() for p in parameters.values())
        if count > FEW:
            ridge = None if self.report is None else self.report.effective_parameters
            return [f"  {count} parameters" + ("" if ridge is None else f", {ridge:.1f} of them effective")]
        errors = self.standard_errors
        lines = [f"  noise {self.uncertainty.noise:.4g}, {self.uncertainty.freedom:g} degrees of freedom"]
        for name, p in parameters.items():
            for index, (value, error) in enumerate(
                zip(p.flatten().tolist(), errors[name].flatten().tolist(), strict=True)
            ):
                label = name if p.numel() == 1 else f"{name}[{index}]"
                relative = f" ({abs(error / value):.2%})" if value else ""
                lines.append(f"  {label:<12} {value: .8g} +/- {error:.3g}{relative}")
        return lines
