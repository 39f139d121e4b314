import copy
import pickle

import pytest
import torch

from networks import ACTIVATIONS, normal
from oracles import ACTIVATIONS as ORACLES
from revgn.nn.activations import find_activation, linearize_activation


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_named_activation_is_the_function_of_that_name(name):
    z = torch.cat([normal(200) * 4, torch.tensor([0.0, -30.0, 30.0, 1e-300], dtype=torch.float64)])
    expected = torch.from_numpy(ORACLES[name](z.numpy()))
    torch.testing.assert_close(find_activation(name)(z), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_closed_form_jvp_equals_forward_mode(name, dtype):
    z = torch.cat([normal(200, dtype=dtype) * 5, torch.tensor([0.0, -90.0, 90.0], dtype=dtype)])
    tangent = normal(203, seed=1, dtype=dtype)
    activation = find_activation(name)
    outputs, jvp = linearize_activation(activation, z)
    expected_outputs, expected = torch.func.jvp(activation.function, (z,), (tangent,))
    torch.testing.assert_close(outputs, expected_outputs, rtol=0, atol=0)
    torch.testing.assert_close(jvp(tangent), expected, rtol=1e-6 if dtype == torch.float32 else 1e-13, atol=1e-7)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_not_owned_is_not_overwritten_and_what_is_gives_the_same(name):
    z, tangent = normal(50) * 3, normal(50, seed=1)
    kept, kept_tangent = z.clone(), tangent.clone()
    outputs, jvp = linearize_activation(find_activation(name), z)
    expected = jvp(tangent)
    assert torch.equal(z, kept)
    assert torch.equal(tangent, kept_tangent)
    in_place, in_place_jvp = linearize_activation(find_activation(name), z, owned=True)
    assert torch.equal(in_place, outputs)
    assert torch.equal(in_place_jvp(tangent), expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_copies_and_pickles_are_the_one_activation_of_that_name(name):
    activation = find_activation(name)
    assert copy.deepcopy(activation) is pickle.loads(pickle.dumps(activation)) is activation


def test_any_callable_serves_by_forward_mode():
    z, tangent = normal(5, 7), normal(5, 7, seed=1)
    outputs, jvp = linearize_activation(lambda x: x.softmax(-1) * x, z)  # not even elementwise
    step = 1e-6
    difference = ((z + step * tangent).softmax(-1) * (z + step * tangent) - outputs) / step
    torch.testing.assert_close(jvp(tangent), difference, rtol=1e-4, atol=1e-5)


def test_unknown_name_offers_the_nearest():
    with pytest.raises(ValueError, match=r"unknown activation 'reluu'; did you mean 'relu'\?"):
        find_activation("reluu")


def test_neither_name_nor_callable_is_refused():
    with pytest.raises(TypeError, match="must be a name or a callable, got 3"):
        find_activation(3)
