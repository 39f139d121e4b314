"""Steps of networks whose weights are shared over positions: n rows of the batch are n T rows of a layer."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import oracles
import revgn
from memory import PeakMemory
from networks import classes, normal
from revgn.losses import CrossEntropyLoss, MSELoss
from revgn.right_inverses import Reversible
from tables import RIGHT_INVERSES, each

# Rows of the layers f and g: 5 n and 5 n in RevConv, 4 n and 5 n in RevMixer.
NETWORKS = {"conv": revgn.RevConv, "mixer": revgn.RevMixer}
EACH_NETWORK = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
INPUTS, TARGETS = normal(6, 40), normal(6, 3, seed=5)
DIFFERENT = each("case", RIGHT_INVERSES, lambda case: case.exact and case.same_as is None and not case.one_block)


def made(network, hidden_features=48, **options):
    # Of few inputs a position, features of a smooth activation are so badly conditioned that full steps overshoot.
    chosen = {"num_blocks": 2, "activation": "relu", "first_activation": "relu", "init_std": 0.2} | options
    generator = torch.Generator().manual_seed(0)
    made = {"generator": generator, "dtype": torch.float64}
    return network((2, 2, 10), 3, patch_size=2, hidden_features=hidden_features, **made, **chosen)


def step(model, *batch, **options):
    return oracles.flat(model, revgn.GaussNewton(model, MSELoss(), **options).direction(*batch))


@EACH_NETWORK
@pytest.mark.parametrize(("bias", "keep_features"), [(True, True), (False, False)])
@pytest.mark.parametrize("hidden_features", [12, 48])
@pytest.mark.parametrize("index", [1, 2])
def test_each_block_takes_the_step_of_the_formula(network, index, hidden_features, bias, keep_features):
    """Surjective or not, from dense Jacobians, pseudo-inverses, and loops over positions."""
    model = made(network, hidden_features, bias=bias)
    alone = [float(i == index) for i in range(3)]
    optimizer = revgn.GaussNewton(model, MSELoss(), block_weights=alone, keep_features=keep_features)
    steps = optimizer.direction(INPUTS, TARGETS)
    r = oracles.outputs(model, INPUTS) - TARGETS.numpy()
    for half, expected in zip("fg", oracles.block_step(model, INPUTS, index, r), strict=True):
        name = f"blocks.{index}.{half}.linear"
        found = oracles.array(steps[f"{name}.weight"]).T
        if bias:
            found = np.vstack([found, oracles.array(steps[f"{name}.bias"])])
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


@EACH_NETWORK
@pytest.mark.parametrize(("hidden_features", "exact"), [(29, True), (28, False)])
def test_a_step_is_exact_from_as_many_features_as_rows_times_positions(network, hidden_features, exact):
    model = made(network, hidden_features, num_blocks=1)
    optimizer = revgn.GaussNewton(model, MSELoss())
    if exact:  # 6 rows of 5 positions, and a bias
        report = optimizer.backward(INPUTS, TARGETS)
    else:
        with pytest.warns(UserWarning, match="its 6 rows need features of rank 30, the best block has 29. The step is"):
            report = optimizer.backward(INPUTS, TARGETS)
    change = oracles.flat(model, {name: p.grad for name, p in model.named_parameters()})
    r = (report.outputs - TARGETS).numpy().ravel()
    error = np.linalg.norm(oracles.jacobian(model, INPUTS) @ change - r) / np.linalg.norm(r)
    assert report.exact == exact
    assert error <= 1e-10 if exact else error > 1e-3


def test_windows_that_are_alike_cannot_be_told_different_things():
    """As the black edges of digits: then the step is not exact, however wide the layers are."""
    inputs = INPUTS.clone().view(6, 2, 2, 10)
    inputs[:2, :, :, 4:] = 1.0  # the last three patches of two images
    optimizer = revgn.GaussNewton(made(revgn.RevConv, num_blocks=1), MSELoss())
    with pytest.warns(UserWarning, match="no block is surjective"):
        report = optimizer.backward(inputs.flatten(1), TARGETS)
    assert not report.exact
    moore_penrose = revgn.GaussNewton(optimizer.model, MSELoss(), right_inverse="moore-penrose")
    assert moore_penrose.backward(inputs.flatten(1), TARGETS).exact


@EACH_NETWORK
@each("case", RIGHT_INVERSES, lambda case: case.same_as is None)
@pytest.mark.parametrize("hidden_features", [7, 48])
@pytest.mark.filterwarnings("ignore:no block is surjective", "ignore:no affine layer is surjective")
def test_weights_of_rows_reach_all_their_positions(network, hidden_features, case):
    """An integer weight is a repeated row where a step is least squares, and changes nothing where it is exact."""
    model, options = made(network, hidden_features, num_blocks=1), {"right_inverse": case.right_inverse}
    repeats = torch.tensor([1, 3, 2, 1, 4, 1])
    weighed = step(model, INPUTS, TARGETS, repeats.double(), **options)
    many = INPUTS.repeat_interleave(repeats, 0), TARGETS.repeat_interleave(repeats, 0)
    expected = step(model, INPUTS, TARGETS, **options) if hidden_features == 48 else step(model, *many, **options)
    assert np.linalg.norm(weighed - expected) <= 1e-7 * np.linalg.norm(expected)


@EACH_NETWORK
def test_a_bias_can_be_taken_out_and_put_in(network):
    model = made(network)
    model.blocks[1].g.linear.bias = None
    bare = made(network, bias=False)
    for coupling in (bare.blocks[1].f, bare.blocks[2].g):
        width = coupling.linear.out_features
        coupling.linear.bias = nn.Parameter(normal(width))
    for changed in (model, bare):
        report = revgn.GaussNewton(changed, MSELoss()).backward(INPUTS, TARGETS)
        change = oracles.flat(changed, {name: p.grad for name, p in changed.named_parameters()})
        r = (report.outputs - TARGETS).numpy().ravel()
        assert report.exact
        assert np.linalg.norm(oracles.jacobian(changed, INPUTS) @ change - r) <= 1e-10 * np.linalg.norm(r)


def residuals(model, right_inverse, lr, steps):
    optimizer = revgn.GaussNewton(model, MSELoss(), lr, right_inverse=right_inverse)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.backward(INPUTS, TARGETS).outputs - TARGETS)
        optimizer.step()
    return torch.stack([*seen, model(INPUTS).detach() - TARGETS])


@EACH_NETWORK
@DIFFERENT
def test_newton_steps_converge_quadratically(network, case):
    sizes = residuals(made(network, 100), case.right_inverse, 1.0, 9).norm(dim=(1, 2)).numpy()
    assert sizes[-1] < 1e-12
    falling = [i for i in range(9) if sizes[i] < 1 and sizes[i + 1] > 1e-12]
    assert all(sizes[i + 1] < 0.5 * sizes[i] for i in falling)
    assert min(sizes[i + 1] for i in falling) < 1e-4 * sizes[falling[-1]]


@EACH_NETWORK
def test_right_inverses_follow_one_trajectory_up_to_order_lr(network):
    """Theorem 4.3 of Buffelli et al. (2024)."""
    ways = [case.right_inverse for case in RIGHT_INVERSES.values() if case.exact and case.same_as is None]
    gaps = []
    for lr in (0.2, 0.1, 0.05):
        ends = [residuals(made(network), way, lr, round(0.8 / lr))[-1] for way in ways]
        gaps.append(max((a - b).norm().item() for a, b in itertools.combinations(ends, 2)))
    slope = np.polyfit(np.log([0.2, 0.1, 0.05]), np.log(gaps), 1)[0]
    assert 0.8 <= slope <= 1.3


# --- Images of the shape of CIFAR-10's: 3 x 32 x 32, cut in 16 patches of 192 channels.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("right_inverse", ["reversible", "adjoint", "moore-penrose"])
@pytest.mark.parametrize(
    ("rows", "hidden_features"), [(4, 80), pytest.param(32, 640, marks=pytest.mark.nightly)], ids=["4 rows", "32 rows"]
)
def test_images_of_the_shape_of_cifars_take_exact_steps(rows, hidden_features, right_inverse, dtype):
    generator = torch.Generator().manual_seed(0)
    options = {"num_blocks": 2, "hidden_features": hidden_features, "generator": generator, "dtype": dtype}
    model = revgn.RevConv((3, 32, 32), 10, patch_size=8, **options)
    inputs, targets = normal(rows, 3072, dtype=dtype), classes(rows, 10)
    optimizer = revgn.GaussNewton(model, CrossEntropyLoss(), right_inverse=right_inverse)
    report = optimizer.backward(inputs, targets)
    r = CrossEntropyLoss().direction(report.outputs, targets)
    change = {name: p.grad for name, p in model.named_parameters()}
    moved = torch.func.jvp(
        lambda values: torch.func.functional_call(model, values, (inputs,)),
        ({name: p.detach() for name, p in model.named_parameters()},),
        (change,),
    )[1]
    assert report.exact
    assert (moved - r).norm() <= (1e-10 if dtype == torch.float64 else 1e-3) * r.norm()
    back = model.inverse(model.state(inputs))
    assert (back - inputs).norm() <= (1e-12 if dtype == torch.float64 else 1e-5) * inputs.norm()


def test_nothing_larger_than_the_features_of_a_chunk_of_rows_is_held():
    n, positions, h, chunk = 256, 2, 2048, 32
    model = revgn.RevConv((2, 4, 8), 2, patch_size=4, num_blocks=2, hidden_features=h, dtype=torch.float32)
    assert model.blocks[1].f.positions == positions
    inputs, targets = normal(n, 64, dtype=torch.float32), normal(n, 2, seed=5, dtype=torch.float32)
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse=Reversible("last", chunk_rows=chunk))
    with PeakMemory() as memory:
        assert optimizer.backward(inputs, targets).exact
    gram = (n * positions) ** 2 * 8
    assert max(memory.sizes) <= max(chunk * positions * h * 4, gram) < n * positions * h * 4
