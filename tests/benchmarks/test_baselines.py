"""FOOF and Newton-Muon against slow float64 versions that solve anew at every step."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import Muon

from baselines import FOOF, NewtonMuon

DAMPING, DECAY, EVERY = 0.1, 0.7, 3
REFRESHED = (0, 1, 2, 4, 7, 10)  # at growing distances, then every third


def network(*widths, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))[:-1].double()


def batches(count, rows=12, width=5, classes=3):
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(rows, width, generator=generator, dtype=torch.float64),
            torch.randint(classes, (rows,), generator=generator),
        )
        for _ in range(count)
    ]


def layer_inputs(parameters, inputs):
    """What each linear layer is given, from a list of [W, b], with tanh between."""
    seen, z = [], inputs.numpy()
    for index, (weight, bias) in enumerate(parameters):
        z = np.tanh(z) if index else z
        seen.append(z)
        z = z @ weight.T + bias
    return seen


def gradients(model, parameters, inputs, classes):
    model = copy.deepcopy(model)
    with torch.no_grad():
        for layer, (weight, bias) in zip(model[::2], parameters, strict=True):
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
    flat = torch.autograd.grad(functional.cross_entropy(model(inputs), classes), list(model.parameters()))
    return [(flat[i].numpy(), flat[i + 1].numpy()) for i in range(0, len(flat), 2)]


def over_damped_mean(gradient, covariances):
    """G (M + lambda I)^-1, M the mean of all covariances so far, older ones weighing less by DECAY each."""
    weights = np.array([DECAY**age for age in reversed(range(len(covariances)))])
    mean = np.tensordot(weights / weights.sum(), np.array(covariances), axes=1)
    ridge = DAMPING * np.trace(mean) / len(mean)
    return np.linalg.solve(mean + ridge * np.eye(len(mean)), gradient.T).T


def test_foof_takes_the_steps_of_its_formula():
    model = network(5, 7, 3)
    original = copy.deepcopy(model)
    optimizer = FOOF(model, lr=0.05, damping=DAMPING, momentum=0.9, decay=DECAY, every=EVERY)
    parameters = [(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in model[::2]]
    velocities, covariances = [0.0, 0.0], [[], []]
    for count, (inputs, classes) in enumerate(batches(9)):
        slow = gradients(original, parameters, inputs, classes)
        for index, phi in enumerate(layer_inputs(parameters, inputs)):
            phi = np.hstack([phi, np.ones((len(phi), 1))])
            if count in REFRESHED:
                covariances[index].append(phi.T @ phi / len(phi))
            joint = over_damped_mean(np.hstack([slow[index][0], slow[index][1][:, None]]), covariances[index])
            velocities[index] = 0.9 * velocities[index] + joint
            weight, bias = parameters[index]
            parameters[index] = weight - 0.05 * velocities[index][:, :-1], bias - 0.05 * velocities[index][:, -1]
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), classes).backward()
        with torch.no_grad():
            model(100 * inputs)  # passes that are not trained on do not count
        optimizer.step()
    for layer, (weight, bias) in zip(model[::2], parameters, strict=True):
        np.testing.assert_allclose(layer.weight.detach(), weight, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.bias.detach(), bias, rtol=1e-9, atol=1e-12)


def test_one_undamped_step_of_foof_solves_a_linear_regression():
    model = network(5, 3)
    (inputs, _), (targets, _) = batches(1)[0], batches(1, width=3)[0]
    optimizer = FOOF(model, lr=1.0, damping=1e-12, momentum=0.0)
    (0.5 * (model(inputs) - targets).square().sum(1).mean()).backward()
    optimizer.step()
    phi = np.hstack([inputs.numpy(), np.ones((len(inputs), 1))])
    solution = np.linalg.lstsq(phi, targets.numpy(), rcond=None)[0]
    np.testing.assert_allclose(model[0].weight.detach().T, solution[:-1], atol=1e-8)
    np.testing.assert_allclose(model[0].bias.detach(), solution[-1], atol=1e-8)


def test_newton_muon_is_muon_on_preconditioned_gradients():
    model = network(5, 7, 3)
    twin = copy.deepcopy(model)
    options = {"lr": 0.02, "weight_decay": 0.1}
    ours = NewtonMuon(model, damping=DAMPING, decay=DECAY, every=EVERY, **options)
    muon = Muon([layer.weight for layer in twin[::2]], **options)
    covariances = [[], []]
    for count, (inputs, classes) in enumerate(batches(6)):
        parameters = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in twin[::2]]
        slow = gradients(twin, parameters, inputs, classes)
        for index, phi in enumerate(layer_inputs(parameters, inputs)):
            if count in REFRESHED:
                covariances[index].append(phi.T @ phi / len(phi))
            joint = over_damped_mean(slow[index][0], covariances[index])
            twin[2 * index].weight.grad = torch.from_numpy(joint)
        muon.step()
        ours.zero_grad()
        functional.cross_entropy(model(inputs), classes).backward()
        ours.step()
    for layer, other in zip(model[::2], twin[::2], strict=True):
        # Muon orthogonalises in bfloat16, where rounding may fall to either side.
        torch.testing.assert_close(layer.weight, other.weight, rtol=0, atol=1e-3)
        torch.testing.assert_close(layer.bias, other.bias, rtol=0, atol=0)


def test_newton_muon_moves_along_the_polar_factor_of_the_preconditioned_gradient():
    model = network(9, 6)
    (inputs, _), (targets, _) = batches(1, rows=40, width=9)[0], batches(1, rows=40, width=6)[0]
    inputs = inputs * torch.logspace(-1, 1, 9, dtype=torch.float64)  # far from white: the gradient's own differs
    before = model[0].weight.detach().clone()
    optimizer = NewtonMuon(model, lr=0.1, damping=DAMPING, weight_decay=0.0)
    functional.mse_loss(model(inputs), targets).backward()  # whose gradient has full rank
    gradient = model[0].weight.grad.numpy().copy()
    optimizer.step()
    moved = (before - model[0].weight.detach()).numpy()

    def along(matrix):
        u, _, vt = np.linalg.svd(matrix, full_matrices=False)
        return np.sum(moved * (u @ vt)) / np.linalg.norm(moved) / np.linalg.norm(u @ vt)

    covariance = inputs.numpy().T @ inputs.numpy() / len(inputs)
    assert along(over_damped_mean(gradient, [covariance])) > 0.98 > along(gradient) + 0.02


@pytest.mark.parametrize("kind", [FOOF, NewtonMuon])
def test_inputs_that_are_not_finite_are_refused_before_anything_moves(kind):
    model = network(5, 3)
    optimizer = kind(model, lr=0.1, damping=DAMPING)
    before = copy.deepcopy(model.state_dict())
    model(torch.full((4, 5), torch.nan, dtype=torch.float64)).sum().backward()
    with pytest.raises(FloatingPointError, match="cannot be factored"):
        optimizer.step()
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
