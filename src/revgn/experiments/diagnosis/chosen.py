"""The diagnoses that a configuration asks for."""

from torch import Tensor

from revgn.experiments.config import Training
from revgn.experiments.diagnosis.base import Diagnosis
from revgn.experiments.diagnosis.kernel import KernelDiagnosis
from revgn.experiments.diagnosis.representations import RepresentationDiagnosis, blocks_by_number
from revgn.experiments.diagnosis.weights import WeightDiagnosis, half_couplings
from revgn.nn import ReversibleNetwork

# A kernel of 640 rows, 64 images of ten classes, costs as many products as 20 estimates from 32 random vectors, whose
# errors are a few thousandths.
_LARGEST_EXACT_KERNEL = 640
_SAMPLES = 32


def diagnoses(training: Training, network: ReversibleNetwork, probe: Tensor) -> list[Diagnosis]:
    """Callbacks for `training.diagnostics`; of exactness the training module tells itself, step by step.

    Args:
        training: how the run goes.
        network: before training.
        probe: (n, d), the rows that kernel and representations are taken on.
    """
    chosen: list[Diagnosis] = []
    every = training.diagnose_every
    if "ntk" in training.diagnostics:
        samples = None if len(probe) * network.out_features <= _LARGEST_EXACT_KERNEL else _SAMPLES
        chosen.append(KernelDiagnosis(network, probe, samples=samples, seed=training.seed, every=every))
    if "cka" in training.diagnostics:
        chosen.append(RepresentationDiagnosis(network, probe, blocks_by_number(network), every=every))
    if "weights" in training.diagnostics:
        chosen.append(WeightDiagnosis(half_couplings(network), every=every))
    return chosen
