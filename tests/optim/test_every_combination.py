"""What holds for every right inverse with every solver and every loss, on a small network."""

import copy
import functools
import io
import pickle

import numpy as np
import pytest
import torch

import oracles
import revgn
from networks import normal, rev_mlp
from revgn.losses import MSELoss
from tables import ADJOINT, LOSSES, RIGHT_INVERSES, SOLVERS, SolverCase, each

# With a solver that truncates or damps no step is exact, which is told, and there are steps of least squares besides.
pytestmark = pytest.mark.filterwarnings("ignore:no block is surjective", "ignore:no affine layer is surjective")

NETWORK = ADJOINT["wide rev mlp"]  # two blocks, each surjective on its batch
INPUTS = NETWORK.inputs()
TARGETS = normal(len(INPUTS), NETWORK.d_out, seed=5)
WITH_OWN = {"its own": SolverCase(None, takes_chunks=True)} | SOLVERS


def pairs(where=lambda right_inverse, solver: True):
    """Right inverses with each solver that serves them, and with none named, as far as `where` holds; by names."""
    return pytest.mark.parametrize(
        ("right_inverse", "solver"),
        [
            pytest.param(r, s, id=f"{r}-{s}")
            for r, right_inverse in RIGHT_INVERSES.items()
            for s, solver in WITH_OWN.items()
            if (solver.takes_chunks or not right_inverse.chunked)
            and (solver.whole_jacobian or not right_inverse.by_curvature)
            and where(right_inverse, solver)
        ],
    )


def optimizer(right_inverse, solver, loss=None, model=None, **options):
    options |= {"right_inverse": RIGHT_INVERSES[right_inverse].right_inverse, "solver": WITH_OWN[solver].solver}
    return revgn.GaussNewton(NETWORK.make() if model is None else model, loss or MSELoss(), **options)


@functools.cache
def jacobian():
    return oracles.jacobian(NETWORK.make(), INPUTS)


@functools.cache
def taken(right_inverse, solver, loss="squared"):
    """The change as one vector, r (n, d_out), and the report of one step."""
    loss, targets = LOSSES[loss].drawn(*TARGETS.shape)
    opt = optimizer(right_inverse, solver, loss)
    report = opt.backward(INPUTS, targets)
    change = oracles.flat(opt.model, {name: p.grad for name, p in opt.model.named_parameters()})
    return change, loss.direction(report.outputs, targets).numpy(), report


def error(change, r):
    return np.linalg.norm(jacobian() @ change - r.ravel()) / np.linalg.norm(r)


@pairs()
def test_a_step_moves_the_outputs_by_r_where_its_parts_are_exact_and_says_so(right_inverse, solver):
    change, r, report = taken(right_inverse, solver)
    exact = WITH_OWN[solver].exact and right_inverse != "reversible, sum"
    assert report.exact == exact == (error(change, r) <= 1e-10)
    if exact:  # to which the solver is a way
        expected = taken(right_inverse, "its own")[0]
        assert np.linalg.norm(change - expected) <= 1e-7 * np.linalg.norm(expected)
    else:
        assert report.defect >= 0.99 * error(change, r) > 1e-3


@pairs(lambda right_inverse, solver: right_inverse.same_as is not None and not solver.random)
def test_another_way_to_the_same_step_gives_that_step_with_every_solver(right_inverse, solver):
    change = taken(right_inverse, solver)[0]
    expected = taken(RIGHT_INVERSES[right_inverse].same_as, solver)[0]
    assert np.linalg.norm(change - expected) <= 1e-8 * np.linalg.norm(expected)


def meets_the_loss(right_inverse, solver):
    """Where the curvature weighs the outputs every solver meets it; elsewhere a loss gives r alone, to one solver."""
    exact = (
        right_inverse.exact
        and solver.exact
        and not solver.same_as
        and (solver.any_shape or not right_inverse.by_curvature)
    )
    return right_inverse.same_as is None and exact and (right_inverse.by_curvature or solver.solver is None)


@pairs(meets_the_loss)
@pytest.mark.parametrize("loss", LOSSES)
def test_with_every_loss_a_step_that_is_told_exact_moves_the_outputs_by_r(right_inverse, solver, loss):
    change, r, report = taken(right_inverse, solver, loss)
    seen = LOSSES[loss].definite or not RIGHT_INVERSES[right_inverse].by_curvature
    assert report.exact == seen
    assert (error(change, r) <= 1e-10) == report.exact


def each_once(right_inverse, solver):
    """Every solver with one right inverse, every right inverse with one solver, and what remembers with each kind."""
    remembers = solver.solver is not None and solver.solver.remembers
    one = right_inverse == RIGHT_INVERSES["reversible"] or solver.solver is None
    kept = not right_inverse.slow and not solver.same_as
    return kept and (one or (remembers and right_inverse.same_as is None))


@pairs(each_once)
def test_a_step_is_the_same_every_time_and_writes_nothing_but_grad(right_inverse, solver):
    opt = optimizer(right_inverse, solver)
    before = [p.detach().clone() for p in opt.model.parameters()]
    state = torch.get_rng_state()
    steps = opt.direction(INPUTS, TARGETS)
    assert all(p.grad is None for p in opt.model.parameters())
    if getattr(WITH_OWN[solver].solver, "remembers", False):  # then it is the same from the same memory
        opt = optimizer(right_inverse, solver)
    opt.backward(INPUTS, TARGETS)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(INPUTS, NETWORK.inputs())
    for (name, p), kept in zip(opt.model.named_parameters(), before, strict=True):
        torch.testing.assert_close(p.grad, steps[name], rtol=1e-9, atol=1e-9)
        assert torch.equal(p, kept)


def pickled(opt):
    return pickle.loads(pickle.dumps(opt))


def saved_and_restored(opt):
    """In another optimizer of another network."""
    stream = io.BytesIO()
    torch.save({"model": opt.model.state_dict(), "optimizer": opt.state_dict()}, stream)
    stream.seek(0)
    saved = torch.load(stream)
    other = type(opt)(copy.deepcopy(opt.model), opt.loss, right_inverse=opt.right_inverse, solver=opt.solver)
    with torch.no_grad():
        for p in other.model.parameters():
            p.zero_()
    other.model.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    return other


def trained(opt):
    """The parameters after one more step."""
    opt.backward(INPUTS, TARGETS)
    opt.step()
    return [p.detach().clone() for p in opt.model.parameters()]


@pairs(each_once)
@pytest.mark.parametrize("clone", [copy.deepcopy, pickled, saved_and_restored])
def test_copies_step_as_their_original(right_inverse, solver, clone):
    opt = optimizer(right_inverse, solver, lr=0.3, momentum=0.9)
    before = trained(opt)
    other = clone(opt)
    assert other.model is not opt.model
    after = trained(opt)
    assert not all(torch.equal(now, old) for now, old in zip(after, before, strict=True))
    for mine, its in zip(after, trained(other), strict=True):
        assert torch.equal(mine, its)


# --- Least squares: more rows than anything can move, with weights.


def narrow():
    """A block of 4 features, and fewer parameters than the 60 outputs of 20 rows."""
    return rev_mlp(4, 3, num_blocks=1, hidden_features=3)


def determined(right_inverse, solver):
    return right_inverse.same_as is None and solver.any_shape and not solver.random


@pairs(determined)
def test_a_whole_weight_of_a_least_squares_step_is_a_repeated_row(right_inverse, solver):
    inputs, targets, repeats = normal(20, 4), normal(20, 3, seed=5), torch.tensor([1, 3, 2, 1, 4] * 4)
    opt = optimizer(right_inverse, solver, model=narrow())
    weighed = oracles.flat(opt.model, opt.direction(inputs, targets, repeats.double()))
    many = inputs.repeat_interleave(repeats, 0), targets.repeat_interleave(repeats, 0)
    repeated = oracles.flat(opt.model, opt.direction(*many))
    assert np.linalg.norm(weighed - repeated) <= 1e-7 * np.linalg.norm(repeated)


@pytest.mark.xfail(raises=RuntimeError, strict=True, reason="Randomized asks a Jacobian for many changes at once")
@each("case", SOLVERS, lambda case: not case.whole_jacobian)
def test_every_solver_serves_the_whole_jacobian(case):
    revgn.GaussNewton(NETWORK.make(), MSELoss(), right_inverse="moore-penrose", solver=case.solver).backward(
        INPUTS, TARGETS
    )
