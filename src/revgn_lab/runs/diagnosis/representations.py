"""How the representations of rows, layer by layer, change while a network is trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from revgn.diagnostics import linear_cka, undisturbed
from revgn.nn import ReversibleNetwork
from revgn_lab.errors import ConfigError
from revgn_lab.files import atomic_file
from revgn_lab.runs.diagnosis.diagnosis import Diagnosis

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class RepresentationDiagnosis(Diagnosis):
    """Debiased linear CKA of the outputs of layers with those of the same layers before training, as `cka_LABEL`.

    Args:
        network: what is trained, or a part of it; any module.
        inputs: (n, ...), the rows that are represented, at least four.
        layers: modules within the network by label, each called once in a forward pass.
        every: epochs from one diagnosis to the next.
    """

    def __init__(self, network: nn.Module, inputs: Tensor, layers: Mapping[str, nn.Module], *, every: int = 1) -> None:
        super().__init__(every=every)
        self.network = network
        self.inputs = inputs
        self.layers = layers
        self._start: dict[str, Tensor] | None = None

    def begin(self, device: torch.device) -> None:
        self.inputs = self.inputs.to(device)

    def findings(self) -> dict[str, float]:
        now = representations(self.network, self.inputs, self.layers)
        if self._start is None:
            self._start = now
        return {f"cka_{label}": linear_cka(x, self._start[label], debiased=True) for label, x in now.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"start": self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._start = state_dict["start"]


def representations(network: nn.Module, inputs: Tensor, layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The outputs of the layers for these inputs, (n, d) each, by label, on the CPU."""
    found: dict[str, Tensor] = {}

    def keep(label: str) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Tensor) -> None:
            found[label] = output.flatten(1).cpu().clone()

        return hook

    hooks = [layer.register_forward_hook(keep(label)) for label, layer in layers.items()]
    try:
        with undisturbed(network, inputs.device):
            network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def layers_by_number(network: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a reversible network, of any other its linear and convolutional layers, labelled 1 to L.

    Raises:
        ConfigError: there are none.
    """
    reversible = isinstance(network, ReversibleNetwork)
    layers = network.layers if reversible else [m for m in network.modules() if isinstance(m, _LAYERS)]
    if not layers:
        raise ConfigError(
            f"{type(network).__name__} has no linear or convolutional layers to look at; leave cka and weights out of "
            "diagnostics"
        )
    return {str(number): layer for number, layer in enumerate(layers, start=1)}


def write_representations(path: Path, network: nn.Module, inputs: Tensor) -> None:
    """Write the outputs of each block or layer, arrays block_1 ... block_L of (n, d) float32, into an NPZ file.

    Raises:
        ConfigError: there are none.
        OSError: the file cannot be written.
    """
    device = next(network.parameters()).device
    states = representations(network, inputs.to(device), layers_by_number(network))
    arrays: dict[str, Any] = {f"block_{label}": state.float().numpy() for label, state in states.items()}
    with atomic_file(path) as file:
        np.savez(file, **arrays)
