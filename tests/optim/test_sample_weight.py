"""Steps with weights of the samples: they matter where not all rows can be had."""

import math

import numpy as np
import pytest
import torch

import oracles
import revgn
from networks import normal, rev_mlp
from revgn.losses import MSELoss
from tables import LOSSES, RIGHT_INVERSES, SOLVERS, SolverCase, each

EACH_STEP_ONCE = each("right_inverse", RIGHT_INVERSES, lambda case: case.same_as is None)
QUICK = each("right_inverse", RIGHT_INVERSES, lambda case: not case.slow)
INPUTS, TARGETS = normal(20, 16), normal(20, 3, seed=5)
WEIGHTS = normal(20, seed=7).abs() + 0.1


def optimizer(model=None, loss=None, **options):
    return revgn.GaussNewton(rev_mlp() if model is None else model, loss or MSELoss(), **options)


def narrow():
    """Fewer parameters than the 60 outputs of 20 rows."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(16, 2), torch.nn.Tanh(), torch.nn.Linear(2, 3)).double()


def close(first, second, rtol):
    assert np.linalg.norm(first - second) <= rtol * np.linalg.norm(second)


@each("right_inverse", RIGHT_INVERSES, lambda case: case.exact and case.same_as is None and not case.one_block)
@each("case", LOSSES)
def test_weights_change_nothing_of_an_exact_step_but_the_loss(case, right_inverse):
    loss, targets = case.drawn(20, 3)
    opt = optimizer(loss=loss, right_inverse=right_inverse.right_inverse, lr=0.5)
    plain = oracles.flat(opt.model, opt.direction(INPUTS, targets))
    report = opt.backward(INPUTS, targets, WEIGHTS)
    close(oracles.flat(opt.model, {name: p.grad for name, p in opt.model.named_parameters()}), plain, 1e-7)
    assert report.loss == pytest.approx(loss(report.outputs, targets, WEIGHTS).item(), rel=1e-12)
    if case.definite or not right_inverse.by_curvature:
        assert report.exact
        half = report.outputs - 0.5 * loss.direction(report.outputs, targets)
        assert report.predicted_loss == pytest.approx(loss(half, targets, WEIGHTS).item(), rel=1e-8)


@QUICK
@pytest.mark.parametrize("hidden_features", [12, 64])
@pytest.mark.filterwarnings("ignore:no block is surjective", "ignore:no affine layer is surjective")
def test_rows_of_weight_zero_are_left_out(hidden_features, right_inverse):
    opt = optimizer(rev_mlp(hidden_features=hidden_features), right_inverse=right_inverse.right_inverse)
    weights = WEIGHTS.clone()
    weights[[0, 3, 19]] = 0
    kept = weights > 0
    with_zeros = oracles.flat(opt.model, opt.direction(INPUTS, TARGETS, weights))
    without = oracles.flat(opt.model, opt.direction(INPUTS[kept], TARGETS[kept], weights[kept]))
    close(with_zeros, without, 1e-10)
    first, second = opt.backward(INPUTS, TARGETS, weights), opt.backward(INPUTS[kept], TARGETS[kept], weights[kept])
    assert first.loss == pytest.approx(second.loss, rel=1e-12)
    assert first.exact == second.exact


@each(
    "case",
    {"its own": SolverCase(None)} | SOLVERS,
    lambda case: case.pseudo_inverse and case.whole_jacobian and not case.same_as,
)
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_a_least_squares_step_is_numpys_with_weighed_rows(scale, case):
    model = narrow()
    opt = optimizer(model, right_inverse="moore-penrose", solver=case.solver)
    step = oracles.flat(model, opt.direction(INPUTS, TARGETS, scale * WEIGHTS))
    j, r = oracles.jacobian(model, INPUTS), (model(INPUTS) - TARGETS).detach().numpy().ravel()
    assert j.shape[0] > j.shape[1]
    root = np.sqrt(np.repeat(WEIGHTS.numpy(), 3))
    expected = np.linalg.lstsq(root[:, None] * j, root * r, rcond=None)[0]
    close(step, expected, 1e-6)
    plain = oracles.flat(model, opt.direction(INPUTS, TARGETS))
    assert np.linalg.norm(step - plain) > 1e-3 * np.linalg.norm(plain)


@EACH_STEP_ONCE
@pytest.mark.filterwarnings("ignore:no block is surjective", "ignore:no affine layer is surjective")
@pytest.mark.parametrize("scale", [1e-300, 1e-3, 7.0, 1e300])
@pytest.mark.parametrize("hidden_features", [12, 64])
def test_the_scale_of_weights_does_not_matter(hidden_features, scale, right_inverse):
    opt = optimizer(rev_mlp(hidden_features=hidden_features), right_inverse=right_inverse.right_inverse)
    first = oracles.flat(opt.model, opt.direction(INPUTS, TARGETS, WEIGHTS))
    close(oracles.flat(opt.model, opt.direction(INPUTS, TARGETS, scale * WEIGHTS)), first, 1e-7)


@pytest.mark.filterwarnings("ignore:no block is surjective")
def test_an_integer_weight_of_a_reversible_least_squares_step_is_a_repeated_row():
    repeats = torch.tensor([1, 3, 2, 1, 4] * 4)
    opt = optimizer(rev_mlp(hidden_features=8, num_blocks=1))
    weighed = oracles.flat(opt.model, opt.direction(INPUTS, TARGETS, repeats.double()))
    many = INPUTS.repeat_interleave(repeats, 0), TARGETS.repeat_interleave(repeats, 0)
    close(weighed, oracles.flat(opt.model, opt.direction(*many)), 1e-7)


def spoiled(value):
    weights = WEIGHTS.clone()
    weights[4] = value
    return weights


BAD_WEIGHTS = {
    "a list": ([1.0] * 20, TypeError, "sample_weight of type list; expected a tensor"),
    "too few": (WEIGHTS[:19], ValueError, r"sample_weight of shape \(19,\); expected one weight a row: \(20,\)"),
    "a column": (WEIGHTS[:, None], ValueError, r"sample_weight of shape \(20, 1\)"),
    "single precision": (WEIGHTS.float(), TypeError, "sample_weight of torch.float32"),
    "integers": (torch.ones(20, dtype=torch.int64), TypeError, "sample_weight of torch.int64"),
    "elsewhere": (WEIGHTS.to("meta"), ValueError, "sample_weight on meta"),
    "nan": (spoiled(math.nan), ValueError, "not finite"),
    "infinity": (spoiled(math.inf), ValueError, "not finite"),
    "negative": (spoiled(-1.0), ValueError, "expected none negative"),
    "all zero": (torch.zeros(20, dtype=torch.float64), ValueError, "sample_weight is zero"),
}


@EACH_STEP_ONCE
@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_bad_weights_are_refused_and_nothing_changes(case, right_inverse):
    weights, error, message = BAD_WEIGHTS[case]
    opt = optimizer(right_inverse=right_inverse.right_inverse)
    before = [p.detach().clone() for p in opt.model.parameters()]
    with pytest.raises(error, match=message):
        opt.backward(INPUTS, TARGETS, weights)
    assert all(p.grad is None for p in opt.model.parameters())
    assert all(torch.equal(p, q) for p, q in zip(opt.model.parameters(), before, strict=True))


@pytest.mark.xfail(raises=ValueError, strict=True, reason="weighed rows ask features in chunks for all of themselves")
@each("right_inverse", RIGHT_INVERSES, lambda case: case.chunked)
@pytest.mark.filterwarnings("ignore:no block is surjective")
def test_weights_reach_features_in_chunks_that_are_fewer_than_the_rows(right_inverse):
    network = rev_mlp(hidden_features=12)
    ours, whole = (
        optimizer(network, right_inverse=each).direction(INPUTS, TARGETS, WEIGHTS)
        for each in (right_inverse.right_inverse, RIGHT_INVERSES[right_inverse.same_as].right_inverse)
    )
    close(oracles.flat(network, ours), oracles.flat(network, whole), 1e-7)
