"""What holds for every reversible network of the tables, and every layer in it."""

import pytest
import torch

from revgn.nn import ReversibleNetwork
from tables import ADJOINT, REVERSIBLE, each

NETWORKS = REVERSIBLE | {name: case for name, case in ADJOINT.items() if isinstance(case.make(), ReversibleNetwork)}


@each("case", NETWORKS)
def test_inverse_gives_the_inputs_back_to_rounding(case):
    network, inputs = case.make(), case.inputs()
    torch.testing.assert_close(network.inverse(network.state(inputs)), inputs, rtol=1e-12, atol=1e-12)


@each("case", NETWORKS)
@torch.no_grad()
@pytest.mark.parametrize("chunk_rows", [None, 2])
def test_every_layer_is_walked_both_ways_through_the_same_points(case, chunk_rows):
    network = case.make()
    state = network.lifted(case.inputs())
    for layer in network.layers:
        tangent = torch.randn(state.shape, generator=torch.Generator().manual_seed(0), dtype=state.dtype)
        outputs, forwards = layer.linearize(state, chunk_rows)
        inputs, backwards = layer.unwind(outputs, chunk_rows)
        torch.testing.assert_close(outputs, layer(state))
        torch.testing.assert_close(inputs, state, rtol=1e-12, atol=1e-12)
        pulled = layer.pull_back(forwards, tangent.clone())
        torch.testing.assert_close(layer.pull_back(backwards, tangent.clone()), pulled)
        torch.testing.assert_close(torch.func.jvp(layer, (state,), (pulled,))[1], tangent)
        state = outputs
