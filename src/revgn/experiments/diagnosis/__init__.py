"""What training does to a network, recorded while it goes on: Lightning callbacks that work in any trainer."""

from revgn.experiments.diagnosis.alignment import AlignmentDiagnosis
from revgn.experiments.diagnosis.base import Diagnosis
from revgn.experiments.diagnosis.chosen import diagnoses
from revgn.experiments.diagnosis.kernel import KernelDiagnosis
from revgn.experiments.diagnosis.representations import RepresentationDiagnosis, write_representations
from revgn.experiments.diagnosis.weights import WeightDiagnosis

__all__ = [
    "AlignmentDiagnosis",
    "Diagnosis",
    "KernelDiagnosis",
    "RepresentationDiagnosis",
    "WeightDiagnosis",
    "diagnoses",
    "write_representations",
]
