"""What training does to a network: its tangent kernel, its representations, its weights, its loss. For any module."""

from revgn.diagnostics.alignment import kernel_alignment
from revgn.diagnostics.cka import linear_cka
from revgn.diagnostics.loss import loss_change
from revgn.diagnostics.tangent_kernel import Estimate, ntk, ntk_similarity
from revgn.diagnostics.weights import WeightChange, weight_change

__all__ = [
    "Estimate",
    "WeightChange",
    "kernel_alignment",
    "linear_cka",
    "loss_change",
    "ntk",
    "ntk_similarity",
    "weight_change",
]
