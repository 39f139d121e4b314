"""What training does to a network, recorded while it goes on: Lightning callbacks that work in any trainer."""

from revgn_lab.runs.diagnosis.chosen import diagnoses
from revgn_lab.runs.diagnosis.diagnosis import Diagnosis
from revgn_lab.runs.diagnosis.kernel import AlignmentDiagnosis, KernelDiagnosis
from revgn_lab.runs.diagnosis.representations import RepresentationDiagnosis, write_representations
from revgn_lab.runs.diagnosis.weight_movement import WeightDiagnosis

__all__ = [
    "AlignmentDiagnosis",
    "Diagnosis",
    "KernelDiagnosis",
    "RepresentationDiagnosis",
    "WeightDiagnosis",
    "diagnoses",
    "write_representations",
]
