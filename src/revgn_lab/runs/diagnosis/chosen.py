"""The diagnoses that a configuration asks for."""

from torch import Tensor, nn

from revgn_lab.runs.diagnosis.diagnosis import Diagnosis
from revgn_lab.runs.diagnosis.kernel import AlignmentDiagnosis, KernelDiagnosis
from revgn_lab.runs.diagnosis.representations import RepresentationDiagnosis, layers_by_number
from revgn_lab.runs.diagnosis.weight_movement import WeightDiagnosis, weights_by_layer
from revgn_lab.settings.config import Training

# A kernel of 640 rows, 64 images of ten classes, costs as many products as 20 estimates from 32 random vectors, whose
# errors are a few thousandths.
_LARGEST_EXACT_KERNEL = 640
_SAMPLES = 32


def diagnoses(training: Training, network: nn.Module, probe: Tensor, targets: Tensor) -> list[Diagnosis]:
    """Callbacks for `training.diagnostics`; of exactness the training module tells itself, step by step.

    Args:
        training: how the run goes.
        network: before training.
        probe: (n, d), the rows that kernel and representations are taken on.
        targets: (n, d_out), theirs.

    Raises:
        ConfigError: the network has no layers to look at.
    """
    chosen: list[Diagnosis] = []
    every = training.diagnose_every
    if "ntk" in training.diagnostics:
        samples = None if targets.numel() <= _LARGEST_EXACT_KERNEL else _SAMPLES
        chosen.append(KernelDiagnosis(network, probe, samples=samples, seed=training.seed, every=every))
    if "alignment" in training.diagnostics:
        chosen.append(AlignmentDiagnosis(network, probe, targets, every=every))
    if "cka" in training.diagnostics:
        chosen.append(RepresentationDiagnosis(network, probe, layers_by_number(network), every=every))
    if "weights" in training.diagnostics:
        chosen.append(WeightDiagnosis(weights_by_layer(network), every=every))
    return chosen
