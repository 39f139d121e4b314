"""What training does to a network, recorded while it goes on: Lightning callbacks that work in any trainer."""

from revgn_lab.diagnosis.chosen import diagnoses
from revgn_lab.diagnosis.diagnosis import Diagnosis
from revgn_lab.diagnosis.kernel import KernelDiagnosis
from revgn_lab.diagnosis.representations import RepresentationDiagnosis, write_representations
from revgn_lab.diagnosis.targets import AlignmentDiagnosis
from revgn_lab.diagnosis.weight_movement import WeightDiagnosis

__all__ = [
    "AlignmentDiagnosis",
    "Diagnosis",
    "KernelDiagnosis",
    "RepresentationDiagnosis",
    "WeightDiagnosis",
    "diagnoses",
    "write_representations",
]
