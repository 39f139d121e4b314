"""How the tangent kernel of a network changes, and turns towards the targets, while it is trained."""

from typing import Any

import torch
from torch import Tensor, nn

from revgn.diagnostics import kernel_alignment, kernel_products, outputs_shape, probe_vectors, similarity
from revgn_lab.runs.diagnosis.diagnosis import Diagnosis


class KernelDiagnosis(Diagnosis):
    """Similarity of the tangent kernel to the one before training, and its change from one diagnosis to the next.

    It tells `ntk_similarity`, `ntk_similarity_error` and, from the second time on, `ntk_change`. The same random
    vectors serve all diagnoses, so that differences between them are not those of the draw. Kept from before, also
    in checkpoints, are the kernels' products with these vectors, not the networks.

    Args:
        network: what is trained, or a part of it; any module.
        inputs: (n, ...), the rows that the kernel is taken on.
        samples: random vectors for an estimate; None for the whole kernel, at n d_out products.
        seed: of these vectors.
        every: epochs from one diagnosis to the next.
    """

    def __init__(
        self, network: nn.Module, inputs: Tensor, *, samples: int | None = None, seed: int = 0, every: int = 1
    ) -> None:
        super().__init__(every=every)
        self.network = network
        self.inputs = inputs
        self.samples = samples
        self.seed = seed
        self._vectors: Tensor | None = None
        self._start: Tensor | None = None
        self._previous: Tensor | None = None

    def begin(self, device: torch.device) -> None:
        self.inputs = self.inputs.to(device)
        generator = torch.Generator().manual_seed(self.seed)
        self._vectors = probe_vectors(outputs_shape(self.network, self.inputs), self.samples, generator=generator)

    def findings(self) -> dict[str, float]:
        products = kernel_products(self.network, self.inputs, self._vectors).cpu()
        start = products if self._start is None else self._start
        estimate = similarity(start, products, exact=self.samples is None)
        found = {"ntk_similarity": estimate.value, "ntk_similarity_error": estimate.standard_error}
        if self._previous is not None:
            found["ntk_change"] = 1.0 - similarity(self._previous, products, exact=self.samples is None).value
        self._start, self._previous = start, products
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"start": self._start, "previous": self._previous}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._start, self._previous = state_dict["start"], state_dict["previous"]


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
