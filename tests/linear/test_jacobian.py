"""The Jacobian of any module as a linear map, against one backward pass an output."""

import functools

import numpy as np
import pytest
import torch

import oracles
import revgn
from networks import normal
from tables import REFUSED, ZOO

EVERY_MODULE = pytest.mark.parametrize("name", ZOO)
# Products come from one pass each, or from what gram() has gathered by layer: both must be right.
BEFORE_AND_AFTER_GRAM = pytest.mark.parametrize("gram_first", [False, True], ids=["alone", "after gram"])


def made(name):
    """A fresh module, its inputs, and their Jacobian."""
    model, inputs = ZOO[name].make(), ZOO[name].inputs()
    return model, inputs, revgn.Jacobian(model, inputs)


@functools.cache
def expected(name):
    """J, (n d_out, P), and its columns by the parameter's place."""
    model = ZOO[name].make()
    j = oracles.jacobian(model, ZOO[name].inputs())
    ends = np.cumsum([p.numel() for p in oracles.trainable(model)])
    return j, np.split(j, ends[:-1], axis=1)


def random_change(parameters, seed=7):
    return {p: normal(*p.shape, seed=seed + index) for index, p in enumerate(parameters)}


def stacked(parameters, change):
    return np.concatenate([oracles.array(change[p]).ravel() for p in parameters])


def close(got, wanted, tolerance):
    """To the tolerance relative to the norm of the whole."""
    __tracebackhide__ = True
    got = oracles.array(got) if isinstance(got, torch.Tensor) else got
    assert got.shape == wanted.shape
    error, size = np.linalg.norm(got - wanted), np.linalg.norm(wanted)
    assert error <= tolerance * size, f"off by {error:.1e} of {size:.1e}"


@EVERY_MODULE
def test_outputs_are_those_of_the_module(name):
    model, inputs, jacobian = made(name)
    close(jacobian.outputs, oracles.array(oracles.call(model, inputs)), 1e-13)
    assert jacobian.outputs.shape[1] == ZOO[name].d_out
    assert not jacobian.outputs.requires_grad


@EVERY_MODULE
def test_parameters_are_the_trainable_ones_in_the_modules_order(name):
    model, _, jacobian = made(name)
    assert [id(p) for p in jacobian.parameters] == [id(p) for p in oracles.trainable(model)]


@EVERY_MODULE
def test_gram_is_j_times_its_transpose(name):
    j, _ = expected(name)
    gram = made(name)[2].gram()
    close(gram, j @ j.T, 1e-11)
    assert gram.dtype == torch.float64
    assert torch.equal(gram, gram.mT)


@EVERY_MODULE
@BEFORE_AND_AFTER_GRAM
def test_dense_is_j(name, gram_first):
    _, _, jacobian = made(name)
    if gram_first:
        jacobian.gram()
    close(jacobian.dense(), expected(name)[0], 1e-11)


@EVERY_MODULE
@BEFORE_AND_AFTER_GRAM
def test_apply_is_j_times_a_change(name, gram_first):
    _, _, jacobian = made(name)
    if gram_first:
        jacobian.gram()
    change = random_change(jacobian.parameters)
    moved = expected(name)[0] @ stacked(jacobian.parameters, change)
    close(jacobian.apply(change), moved.reshape(-1, ZOO[name].d_out), 1e-10)


@EVERY_MODULE
@BEFORE_AND_AFTER_GRAM
def test_parameters_left_out_of_a_change_stay(name, gram_first):
    _, _, jacobian = made(name)
    if gram_first:
        jacobian.gram()
    change = random_change(jacobian.parameters[::2])
    columns = np.hstack(expected(name)[1][::2])
    moved = columns @ stacked(jacobian.parameters[::2], change)
    close(jacobian.apply(change), moved.reshape(-1, ZOO[name].d_out), 1e-10)


@EVERY_MODULE
@BEFORE_AND_AFTER_GRAM
def test_adjoint_is_the_transpose_of_j_times_cotangents(name, gram_first):
    _, _, jacobian = made(name)
    if gram_first:
        jacobian.gram()
    v = normal(*jacobian.outputs.shape, seed=3)
    pulled = jacobian.adjoint(v)
    assert set(pulled) == set(jacobian.parameters)
    assert all(pulled[p].shape == p.shape and not pulled[p].requires_grad for p in pulled)
    close(stacked(jacobian.parameters, pulled), expected(name)[0].T @ v.numpy().ravel(), 1e-10)


@EVERY_MODULE
@BEFORE_AND_AFTER_GRAM
def test_adjoint_is_the_transpose_of_apply(name, gram_first):
    _, _, jacobian = made(name)
    if gram_first:
        jacobian.gram()
    change, v = random_change(jacobian.parameters), normal(*jacobian.outputs.shape, seed=3)
    pulled = jacobian.adjoint(v)
    forwards = (v * jacobian.apply(change)).sum().item()
    backwards = sum((pulled[p] * change[p]).sum().item() for p in jacobian.parameters)
    size = v.norm().item() * np.linalg.norm(expected(name)[0]) * np.linalg.norm(stacked(jacobian.parameters, change))
    assert abs(forwards - backwards) <= 1e-12 * size


@EVERY_MODULE
def test_some_parameters_have_their_own_columns_alone(name):
    model, inputs, _ = made(name)
    chosen = oracles.trainable(model)[1::2] or oracles.trainable(model)
    jacobian = revgn.Jacobian(model, inputs, parameters=chosen)
    places = {p: place for place, p in enumerate(oracles.trainable(model))}
    j = np.hstack([expected(name)[1][places[p]] for p in jacobian.parameters])
    assert set(jacobian.parameters) == set(chosen)
    # The chosen ones may be out of use: their kernel is then zero, and rounding is judged by the whole.
    size = np.linalg.norm(expected(name)[0])
    assert np.linalg.norm(oracles.array(jacobian.dense()) - j) <= 1e-11 * size
    assert np.linalg.norm(jacobian.gram().numpy() - j @ j.T) <= 1e-11 * size**2


@EVERY_MODULE
def test_autograd_may_be_switched_off_around_it(name):
    j, _ = expected(name)
    with torch.no_grad():
        _, _, jacobian = made(name)
        v = normal(*jacobian.outputs.shape, seed=3)
        close(stacked(jacobian.parameters, jacobian.adjoint(v)), j.T @ v.numpy().ravel(), 1e-10)
        close(jacobian.gram(), j @ j.T, 1e-11)


# --- What the module is afterwards.


def values(tensors):
    return {name: tensor.detach().clone() for name, tensor in tensors}


class Photograph:
    """All that a look at a module must leave as it was."""

    def __init__(self, model):
        modules = list(model.named_modules(remove_duplicate=False))
        self.values = values(model.named_parameters(remove_duplicate=False)) | values(model.named_buffers())
        self.same = {
            (name, part): member
            for name, module in modules
            for part, member in [*module._parameters.items(), *module._buffers.items(), *module._modules.items()]
        }
        self.facts = {
            "modules": [(name, type(module), module.training) for name, module in modules],
            "attributes": [(name, set(vars(module))) for name, module in modules],
            "hooks": [(name, key, list(hooks)) for name, module in modules for key, hooks in hooks_of(module)],
            "trainable": [p.requires_grad for p in model.parameters()],
            "gradients": [p.grad for p in model.parameters()],
        }
        self.random = torch.get_rng_state()

    def assert_unchanged(self, model):
        now = Photograph(model)
        assert now.facts == self.facts
        assert now.same.keys() == self.same.keys()
        assert all(now.same[key] is member for key, member in self.same.items())
        assert now.values.keys() == self.values.keys()
        changed = [name for name, value in self.values.items() if not torch.equal(now.values[name], value)]
        assert changed == []
        assert torch.equal(now.random, self.random)


def hooks_of(module):
    return [(key, hooks) for key, hooks in sorted(vars(module).items()) if key.endswith("_hooks")]


def tensors(inputs):
    if isinstance(inputs, dict):
        return list(inputs.values())
    return list(inputs) if isinstance(inputs, tuple) else [inputs]


def used(jacobian):
    v = normal(*jacobian.outputs.shape, seed=3)
    jacobian.apply(jacobian.adjoint(v))
    jacobian.gram()
    jacobian.apply(jacobian.adjoint(v))
    jacobian.dense()


@EVERY_MODULE
def test_the_module_is_what_it_was(name):
    model, inputs = ZOO[name].make(), ZOO[name].inputs()
    before = oracles.array(oracles.call(model, inputs))
    photograph = Photograph(model)
    used(revgn.Jacobian(model, inputs))
    photograph.assert_unchanged(model)
    # It still trains: what its calls leave behind (a pruned weight, say) belongs to autograd's graph and to no other.
    outputs = oracles.call(model, inputs)
    assert np.array_equal(oracles.array(outputs), before)
    outputs.sum().backward()
    assert any(p.grad is not None for p in oracles.trainable(model))


@EVERY_MODULE
def test_the_inputs_are_what_they_were(name):
    model, inputs = ZOO[name].make(), ZOO[name].inputs()
    used(revgn.Jacobian(model, inputs))
    pairs = list(zip(tensors(inputs), tensors(ZOO[name].inputs()), strict=True))
    assert all(torch.equal(now, before) and not now.requires_grad for now, before in pairs)


def test_the_table_has_modules_in_training_mode_in_evaluation_mode_and_of_both():
    flags = {name: {module.training for module in ZOO[name].make().modules()} for name in ZOO}
    assert {True, False} in flags.values()
    assert {True} in flags.values()
    assert {False} in flags.values()


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_jacobian_of_independent_rows_is_refused(name):
    make, inputs, error, message = REFUSED[name]
    model = make()
    photograph = Photograph(model)
    with pytest.raises(error, match=message):
        revgn.Jacobian(model, inputs()).gram()
    photograph.assert_unchanged(model)
