"""How the tangent kernel of a network turns towards the targets while it is trained."""

import torch
from torch import Tensor, nn

from revgn.diagnostics import kernel_alignment
from revgn_lab.runs.diagnosis.diagnosis import Diagnosis


class AlignmentDiagnosis(Diagnosis):
    """Alignment of the tangent kernel, mean over outputs, with the targets of the same rows, as `kernel_alignment`.

    Args:
        network: what is trained, or a part of it; any module.
        inputs: (n, ...), the rows that the kernel is taken on; it has n d_out rows.
        targets: (n, c), theirs; classes as one-hot rows.
        every: epochs from one diagnosis to the next.
    """

    def __init__(self, network: nn.Module, inputs: Tensor, targets: Tensor, *, every: int = 1) -> None:
        super().__init__(every=every)
        self.network = network
        self.inputs = inputs
        self.targets = targets

    def begin(self, device: torch.device) -> None:
        self.inputs, self.targets = self.inputs.to(device), self.targets.to(device)

    def findings(self) -> dict[str, float]:
        return {"kernel_alignment": kernel_alignment(self.network, self.inputs, self.targets)}
