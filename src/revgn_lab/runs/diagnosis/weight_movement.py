"""How far training moves the weights of a network."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from revgn.diagnostics import joint_change
from revgn.nn import ReversibleNetwork
from revgn_lab.runs.diagnosis.diagnosis import Diagnosis
from revgn_lab.runs.diagnosis.representations import layers_by_number


class WeightDiagnosis(Diagnosis):
    """Relative change of groups of weights, and cosine to what they were: weight_change_LABEL, weight_cosine_LABEL.

    What they were is what they are when this object is made: make it before a trainer loads a checkpoint.

    Args:
        groups: parameters by label; those of a group are taken for one long vector.
        every: epochs from one diagnosis to the next.
    """

    def __init__(self, groups: Mapping[str, Sequence[nn.Parameter]], *, every: int = 1) -> None:
        super().__init__(every=every)
        self.groups = groups
        self._start: dict[str, list[Tensor]] = {
            label: [parameter.detach().clone() for parameter in group] for label, group in groups.items()
        }

    def begin(self, device: torch.device) -> None:
        self._start = {label: [tensor.to(device) for tensor in group] for label, group in self._start.items()}

    def findings(self) -> dict[str, float]:
        changes = {label: joint_change(group, self._start[label]) for label, group in self.groups.items()}
        return {
            **{f"weight_change_{label}": change.norm for label, change in changes.items()},
            **{f"weight_cosine_{label}": change.cosine for label, change in changes.items()},
        }


def weights_by_layer(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The weights of each half-coupling with their bias row, labelled 1f, 1g, 2f, ...; of other networks of each layer.

    Raises:
        ConfigError: there are none.
    """
    if not isinstance(network, ReversibleNetwork):
        return {label: list(layer.parameters()) for label, layer in layers_by_number(network).items()}
    return {
        f"{number}{half}": list(coupling.parameters())
        for number, block in enumerate(network.layers, start=1)
        for half, coupling in zip("fg", block.couplings, strict=False)  # a layer without parameters has none
    }
