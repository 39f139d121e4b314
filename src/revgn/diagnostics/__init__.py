"""What training does to a network: its tangent kernel, its representations, its weights, its loss. For any module."""

from revgn.diagnostics.alignment import kernel_alignment
from revgn.diagnostics.change_of_loss import loss_change
from revgn.diagnostics.cka import linear_cka
from revgn.diagnostics.side_effects import undisturbed
from revgn.diagnostics.tangent_kernel import (
    Estimate,
    kernel_products,
    ntk,
    ntk_similarity,
    outputs_shape,
    probe_vectors,
    similarity,
)
from revgn.diagnostics.weights import WeightChange, joint_change, weight_change

__all__ = [
    "Estimate",
    "WeightChange",
    "joint_change",
    "kernel_alignment",
    "kernel_products",
    "linear_cka",
    "loss_change",
    "ntk",
    "ntk_similarity",
    "outputs_shape",
    "probe_vectors",
    "similarity",
    "undisturbed",
    "weight_change",
]
