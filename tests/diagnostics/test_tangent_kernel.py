"""The kernel against one backward pass an output, and what is estimated of it against what it is."""

import copy
import re

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

import oracles
from networks import architectures, normal, rev_mlp
from revgn.diagnostics import Estimate, ntk, ntk_similarity, tangent_kernel
from revgn.linear import jacobian_blocks

INPUTS = normal(6, 5)


def mlp():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).double()


def convolutional():
    torch.manual_seed(0)
    layers = [torch.nn.Unflatten(1, (1, 5)), torch.nn.Conv1d(1, 4, 2), torch.nn.BatchNorm1d(4), torch.nn.GELU()]
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(16, 3)).double()


class Tied(torch.nn.Module):
    """A layer used twice, and a parameter that is not used at all."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = torch.nn.Linear(5, 5).double()
        self.unused = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, inputs):
        return self.inner(torch.sin(self.inner(inputs)))[:, :3]


NETWORKS = {
    "mlp": mlp,
    "convolutional": convolutional,
    "tied": Tied,
    "reversible": lambda: rev_mlp(5, 3, num_blocks=2, hidden_features=12),
    "without bias": lambda: rev_mlp(5, 3, num_blocks=2, hidden_features=None, bias=False),
}
NETWORK = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def moved(network, by, seed=0):
    """A copy with other weights."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for index, parameter in enumerate(other.parameters()):
            parameter += by * normal(*parameter.shape, seed=seed + index)
    return other


def kernel(network, inputs):
    network = copy.deepcopy(network).eval()
    j = oracles.jacobian(network, inputs)
    return j @ j.T


@NETWORK
def test_the_kernel_is_that_of_the_jacobian(network):
    k = ntk(network(), INPUTS)
    assert k.shape == (18, 18)
    assert torch.equal(k, k.mT)
    np.testing.assert_allclose(k.numpy(), kernel(network(), INPUTS), rtol=1e-9, atol=1e-11)


def test_a_linear_model_has_the_gram_matrix_of_its_inputs():
    model = torch.nn.Linear(5, 2).double()
    expected = torch.kron(INPUTS @ INPUTS.mT + 1, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(ntk(model, INPUTS), expected)


@settings(max_examples=15, deadline=None)
@given(architectures(), st.integers(1, 5))
def test_the_kernel_of_any_reversible_network_is_that_of_its_jacobian(options, rows):
    network = rev_mlp(**options)
    inputs = normal(rows, options["in_features"], seed=1)
    expected = kernel(network, inputs)
    np.testing.assert_allclose(ntk(network, inputs).numpy(), expected, atol=1e-9 * np.abs(expected).max())


def test_frozen_parameters_have_no_tangents():
    network = mlp()
    network[0].requires_grad_(False)
    features = network[:2](INPUTS).detach()
    expected = torch.kron(features @ features.mT + 1, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(ntk(network, INPUTS), expected)


@NETWORK
def test_similarity_without_samples_is_the_cosine_of_the_kernels(network):
    before, after = network(), moved(network(), 0.1)
    k0, k = kernel(before, INPUTS), kernel(after, INPUTS)
    expected = (k0 * k).sum() / (np.linalg.norm(k0) * np.linalg.norm(k))
    estimate = ntk_similarity(after, before, INPUTS)
    assert estimate.value == pytest.approx(expected, rel=1e-10)
    assert estimate.standard_error == 0
    assert expected < 0.999


def test_samples_hit_the_kernel_within_their_error_bars_and_without_bias():
    before, after = mlp(), moved(mlp(), 0.3)
    exact = ntk_similarity(after, before, INPUTS).value
    estimates = [
        ntk_similarity(after, before, INPUTS, samples=16, generator=torch.Generator().manual_seed(seed))
        for seed in range(150)
    ]
    values = np.array([estimate.value for estimate in estimates])
    errors = np.array([estimate.standard_error for estimate in estimates])
    assert exact < 0.9
    assert abs(values.mean() - exact) < 3 * values.std() / 150**0.5
    assert errors.mean() == pytest.approx(values.std(), rel=0.2)
    assert (
        0.85 < np.mean(np.abs(values - exact) < 2 * errors) < 0.99
    )  # 95 % for a normal distribution, less for t of 15


def test_the_error_falls_with_the_root_of_the_samples():
    before, after = mlp(), moved(mlp(), 0.3)
    few, many = (ntk_similarity(after, before, INPUTS, samples=samples).standard_error for samples in (64, 1024))
    assert few / many == pytest.approx(4, rel=0.4)


def test_the_inner_product_is_estimated_and_not_the_mean_of_the_products():
    """The mean of K v is zero: an average over v before the comparison would estimate nothing."""
    before, after = mlp(), moved(mlp(), 0.3)
    k0, k = kernel(before, INPUTS), kernel(after, INPUTS)
    vectors = tangent_kernel.probe_vectors(torch.Size((6, 3)), 4000, generator=None).double()
    first, second = (tangent_kernel.kernel_products(each, INPUTS, vectors) for each in (before, after))
    np.testing.assert_allclose(first.flatten(1).numpy(), vectors.flatten(1).numpy() @ k0, rtol=1e-8, atol=1e-9)
    inner = (first * second).flatten(1).sum(1).numpy()
    assert inner.mean() == pytest.approx((k0 * k).sum(), abs=4 * inner.std() / 4000**0.5)


def test_a_network_is_exactly_like_itself_with_or_without_samples():
    assert ntk_similarity(mlp(), mlp(), INPUTS).value == pytest.approx(1, abs=1e-14)
    estimate = ntk_similarity(mlp(), mlp(), INPUTS, samples=4)
    assert estimate.value == pytest.approx(1, abs=1e-14)
    assert estimate.standard_error == pytest.approx(0, abs=1e-7)


def test_one_generator_draws_one_result_and_the_default_is_always_the_same():
    before, after = mlp(), moved(mlp(), 0.3)

    def estimate(seed=None):
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return ntk_similarity(after, before, INPUTS, samples=5, generator=generator)

    assert estimate() == estimate()
    assert estimate(3) == estimate(3) != estimate(4)


@NETWORK
def test_what_does_not_fit_at_once_is_taken_in_turns_with_the_same_result(network, monkeypatch):
    network = network()
    whole = ntk(network, INPUTS)
    size = sum(p.numel() for p in network.parameters())
    for entries in (1, 4 * size + 1):
        monkeypatch.setattr(jacobian_blocks, "ENTRIES", entries)
        torch.testing.assert_close(ntk(network, INPUTS), whole)


def test_the_jacobian_is_never_held():
    """The largest tensor made on the way is smaller than J, (n d_out, P), by far."""

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for each in result if isinstance(result, tuple | list) else (result,):
                if isinstance(each, torch.Tensor):
                    Sizes.largest = max(Sizes.largest, each.numel())
            return result

    network = rev_mlp(40, 40, num_blocks=2, hidden_features=400, activation="relu")
    parameters = sum(p.numel() for p in network.parameters())
    with Sizes():
        ntk(network, normal(8, 40))
    assert Sizes.largest < 0.3 * 8 * 40 * parameters


def test_modes_gradients_and_random_numbers_stay_as_they_are():
    network = torch.nn.Sequential(mlp(), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2)).double()
    network[0].eval()
    network[3].weight.grad = torch.ones(2, 3, dtype=torch.float64)
    statistics = network[2].running_mean.clone()
    modes = [module.training for module in network.modules()]
    other = mlp_with_two_outputs()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = ntk(network, INPUTS)
    ntk_similarity(network, other, INPUTS, samples=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(network[2].running_mean, statistics)
    assert torch.equal(network[3].weight.grad, torch.ones(2, 3, dtype=torch.float64))
    assert all(p.requires_grad for p in network.parameters())
    torch.testing.assert_close(first, ntk(network.eval(), INPUTS))  # no dropout in either mode


def mlp_with_two_outputs():
    return torch.nn.Sequential(mlp(), torch.nn.Linear(3, 2)).double()


def test_a_model_that_fails_is_left_in_its_mode():
    network = mlp()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        ntk(network, normal(6, 4))
    assert all(module.training for module in network.modules())


def test_gradients_may_be_off_and_autocast_on_around_it():
    network = rev_mlp(5, 3, num_blocks=2, dtype=torch.float32)
    inputs = INPUTS.float()
    expected = ntk(network, inputs)
    assert expected.dtype == torch.float64
    with torch.no_grad(), torch.autocast("cpu"):
        torch.testing.assert_close(ntk(network, inputs), expected)


def test_what_has_no_kernel_is_refused():
    with pytest.raises(
        ValueError, match=re.escape("outputs have shape (18,) for 6 rows of inputs; expected (n, d_out)")
    ):
        ntk(torch.nn.Sequential(mlp(), torch.nn.Flatten(0)), INPUTS)
    with pytest.raises(ValueError, match="no trainable parameter, so no Jacobian"):
        ntk(mlp().requires_grad_(False), INPUTS)
    with pytest.raises(ValueError, match=r"outputs of shapes \(6, 3\) and \(6, 2\); kernels can be compared only"):
        ntk_similarity(mlp(), mlp_with_two_outputs(), INPUTS)
    with pytest.raises(ValueError, match="samples=1; a standard error needs at least 2, or None"):
        ntk_similarity(mlp(), mlp(), INPUTS, samples=1)


def test_an_estimate_says_what_it_is():
    assert repr(Estimate(0.5, 0.1)) == "Estimate(value=0.5, standard_error=0.1)"
