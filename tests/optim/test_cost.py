"""What a step costs, counted and not timed: products of matrices, and arrays of the size of the features."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import revgn
from memory import storages_made
from networks import normal, rev_mlp
from revgn.linear import Features
from revgn.linear.features import TILE
from revgn.losses import MSELoss
from revgn.optim.certificate import JITTERED, ROWS
from revgn.solvers import Eigh

N, D, H = 192, 256, 2048
UNIT = 2 * N * H * (D // 2)  # one n x d/2 x h product, theory's unit of cost
GRAM = 2 * N * N * H / UNIT  # one Gram matrix in these units: 2 n / d


def problem(num_blocks, first_activation="relu"):
    network = rev_mlp(
        D,
        3,
        num_blocks=num_blocks,
        hidden_features=H,
        activation="relu",
        first_activation=first_activation,
        init_std=1e-3,
        dtype=torch.float32,
    )
    return network, normal(N, D, dtype=torch.float32), normal(N, 3, seed=5, dtype=torch.float32)


def units(run):
    """Products that `run` takes, in units; the small ones (readout, probes) make up for less than one."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / UNIT


def certificate(num_blocks, lowest=0):
    """The JVP through the model on 24 of the rows, and 8 of them once more, given the lowest block that moves.

    Of each coupling above it the product of features and the shift, their tangents, and the change of the weight; V has
    no tangent. The lowest block's f sees none.
    """
    return (ROWS + JITTERED) / N * (FORWARD * lowest + 10 * (num_blocks - lowest) - 2)


FORWARD, PULL_BACK, SOLVE = 4, 4, 2 * (GRAM + 1)  # a block's; a solve forms a Gram matrix and multiplies once by Phi^T
LAST_SOLVE = SOLVE - 1  # the last block's f need only be solved for r, which is d_out wide
COSTS = [
    # the linear first block is neither solved nor pulled back: g's tangent of the second block is all that moves
    ("exact", "identity", 2, True, 2 * FORWARD + 2 + LAST_SOLVE + certificate(2, 1)),
    ("exact", "relu", 2, True, 2 * FORWARD + PULL_BACK + 2 + SOLVE + LAST_SOLVE + certificate(2)),
    ("exact", "relu", 6, True, 6 * FORWARD + 5 * PULL_BACK + 2 + 5 * SOLVE + LAST_SOLVE + certificate(6)),
    ("last", "relu", 6, True, 6 * FORWARD + 2 + LAST_SOLVE + certificate(6, 5)),
    # rebuilding a block's features takes as many products as its forward pass
    ("exact", "relu", 6, False, 12 * FORWARD + 5 * PULL_BACK + 2 + 5 * SOLVE + LAST_SOLVE + certificate(6)),
    ("last", "relu", 6, False, 7 * FORWARD + 2 + LAST_SOLVE + certificate(6, 5)),
]


@pytest.mark.parametrize(("block_weights", "first_activation", "num_blocks", "keep_features", "expected"), COSTS)
def test_a_step_takes_no_more_products_than_theory_counts(
    block_weights, first_activation, num_blocks, keep_features, expected
):
    network, inputs, targets = problem(num_blocks, first_activation)
    optimizer = revgn.GaussNewton(network, MSELoss(), block_weights=block_weights, keep_features=keep_features)
    assert optimizer.backward(inputs, targets).exact
    small = 0.5 * num_blocks
    assert expected <= units(lambda: optimizer.backward(inputs, targets)) <= expected + small


def test_a_truncated_solve_pays_for_the_second_jvp():
    network, inputs, targets = problem(2)
    optimizer = revgn.GaussNewton(network, MSELoss(), solver=Eigh(rtol=0.1), block_weights="sum")
    second_jvp = 2 + 1  # with Phi Delta, what f has moved
    expected = 2 * FORWARD + PULL_BACK + 2 + SOLVE + LAST_SOLVE + 2 * second_jvp + certificate(2)
    assert expected <= units(lambda: optimizer.backward(inputs, targets)) <= expected + 2


def test_autograd_on_the_same_network_takes_five_products_a_coupling():
    network, inputs, targets = problem(2)
    taken = units(lambda: MSELoss()(network(inputs), targets).backward())
    assert 18 <= taken <= 19  # two of the twenty lead to the inputs, which need no gradient


@pytest.mark.parametrize(("num_blocks", "block_weights"), [(2, "exact"), (4, "exact"), (4, "last")])
def test_arrays_as_large_as_the_features_are_made_once_a_product(num_blocks, block_weights):
    """One for the features of each coupling, one for each tangent of features; activations work in place."""
    network, inputs, targets = problem(num_blocks)
    optimizer = revgn.GaussNewton(network, MSELoss(), block_weights=block_weights)
    optimizer.backward(inputs, targets)
    made = storages_made(lambda: optimizer.backward(inputs, targets), size=N * H * 4)
    tangents = 1 if block_weights == "last" else 2 * num_blocks - 1
    assert made == 2 * num_blocks + tangents


def test_gram_matrices_are_formed_in_their_lower_triangle_only():
    features = normal(4 * TILE, 1100, dtype=torch.float32)
    with FlopCounterMode(display=False) as counter:
        gram = Features.of(features, bias=True).gram()
    assert counter.get_total_flops() == 10 / 16 * 2 * (4 * TILE) ** 2 * 1100
    expected = (features @ features.mT + 1).double()
    torch.testing.assert_close(gram.tril(), expected.tril(), rtol=1e-5, atol=1e-3)


def test_a_linear_block_is_solved_at_the_width_of_its_inputs():
    """192 rows in a state of 256, halves of 128: features linear in 128 inputs, of which no Gram matrix is formed."""
    network, inputs, targets = problem(1, "identity")
    optimizer = revgn.GaussNewton(network, MSELoss(), solver=Eigh(rtol=1e-2), block_weights="sum")
    half = D // 2
    root = half / N  # V V^T and Q^T Delta, each h x d/2 x d/2; the products of n rows with d/2 columns are small
    second_jvp = 2 + root
    expected = FORWARD + 2 + 2 * 2 * root + second_jvp + certificate(1)
    assert expected <= units(lambda: optimizer.backward(inputs, targets)) <= expected + 0.5


class HostReads(TorchDispatchMode):
    """Counts numbers that are brought from the device to the host one by one: each makes the host wait."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("num_blocks", "block_weights"), [(2, "exact"), (6, "exact"), (6, "last")])
def test_the_host_waits_for_what_the_report_shows(num_blocks, block_weights):
    network, inputs, targets = problem(num_blocks)
    optimizer = revgn.GaussNewton(network, MSELoss(), block_weights=block_weights)
    optimizer.backward(inputs, targets)
    with HostReads() as reads:
        report = optimizer.backward(inputs, targets)
    defects = sum(len(defects) for defects in report.defects if defects is not None)
    loss_and_predicted_loss = 2
    before_it_is_spread = 1  # the last block's f is solved for r alone, which must be exact first
    certified = 2  # what is left of r, and whether the outputs are the same as before
    assert reads.count == loss_and_predicted_loss + defects + before_it_is_spread + certified
