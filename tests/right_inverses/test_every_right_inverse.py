"""What holds for every right inverse, on every network that has one."""

import itertools

import numpy as np
import pytest

import oracles
import revgn
from networks import normal
from revgn.losses import MSELoss
from revgn.right_inverses import find_right_inverse
from tables import ADJOINT, RIGHT_INVERSES, each


def ways(network, where):
    """The right inverses that exist for a network of the table and of which `where` holds, by name."""
    model = ADJOINT[network].make()
    return {name: case for name, case in RIGHT_INVERSES.items() if case.exists_for(model) and where(case)}


def pairs(where):
    return [
        pytest.param(network, case, id=f"{network}-{name}")
        for network in ADJOINT
        for name, case in ways(network, where).items()
        # A block that is not surjective takes part in the steps of all blocks, which are then not exact.
        if case.exact or not network.endswith("linear first block")
    ]


def problem(name):
    """Module, inputs, targets, J and r (n, d_out)."""
    model, inputs = ADJOINT[name].make(), ADJOINT[name].inputs()
    outputs = model(inputs).detach()
    targets = normal(*outputs.shape, seed=5)
    return model, inputs, targets, oracles.jacobian(model, inputs), (outputs - targets).numpy()


def step(model, case, inputs, targets):
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse=case.right_inverse)
    return oracles.flat(model, optimizer.direction(inputs, targets))


@pytest.mark.parametrize(("network", "case"), pairs(lambda case: case.exact and not case.slow))
def test_every_right_inverse_moves_the_outputs_by_r(network, case):
    """They part in second order only: Theorem 4.3."""
    model, inputs, targets, j, r = problem(network)
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse=case.right_inverse)
    report = optimizer.backward(inputs, targets)
    change = oracles.flat(model, {name: p.grad for name, p in model.named_parameters()})
    assert report.exact
    assert report.predicted_loss <= 1e-18 * report.loss
    assert np.linalg.norm(j @ change - r.ravel()) <= 1e-10 * np.linalg.norm(r)


@pytest.mark.parametrize("network", ADJOINT)
def test_right_inverses_are_different_steps_of_which_one_is_the_shortest(network):
    """They agree in what they move, not in how."""
    model, inputs, targets, _, _ = problem(network)
    found = ways(network, lambda case: case.exact and case.same_as is None)
    shortest = [step(model, case, inputs, targets) for case in found.values() if case.shortest]
    others = [step(model, case, inputs, targets) for case in found.values() if not case.shortest]
    assert len(shortest) == 1  # J^+ r
    for short, other in itertools.product(shortest, others):
        assert np.linalg.norm(short) <= np.linalg.norm(other) * (1 + 1e-9)
        assert np.linalg.norm(short - other) > 1e-3 * np.linalg.norm(short)


@pytest.mark.parametrize(("network", "case"), pairs(lambda case: case.same_as is not None))
def test_another_way_to_the_same_step_gives_that_step(network, case):
    model, inputs, targets, _, _ = problem(network)
    expected = step(model, RIGHT_INVERSES[case.same_as], inputs, targets)
    assert np.linalg.norm(step(model, case, inputs, targets) - expected) <= 1e-8 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", ["reversible", "adjoint", "moore-penrose"])
def test_names_are_those_of_the_table(name):
    assert find_right_inverse(name, ADJOINT["wide rev mlp"].make()) == RIGHT_INVERSES[name].right_inverse


@each("case", RIGHT_INVERSES, lambda case: not case.any_module)
def test_what_exists_for_reversible_networks_alone_refuses_others(case):
    with pytest.raises(TypeError, match=r"not a revgn\.nn\.ReversibleNetwork"):
        revgn.GaussNewton(ADJOINT["wide mlp"].make(), MSELoss(), right_inverse=case.right_inverse)
