"""Values that are kept as long as their tensor stays what it is."""

import gc
import weakref

import torch

from networks import normal
from revgn.linear.kept import Kept


def counted():
    """The sum of a tensor, kept, and the list of tensors that it was taken of."""
    seen = []

    def total(tensor):
        seen.append(tensor.clone())
        return tensor.sum()

    return Kept(total), seen


def test_a_value_is_computed_once():
    total, seen = counted()
    tensor = normal(3, 4)
    assert total(tensor) is total(tensor)
    assert len(seen) == 1


def test_a_change_in_place_is_seen():
    total, _ = counted()
    tensor = normal(3, 4)
    before = total(tensor)
    tensor.mul_(2)
    torch.testing.assert_close(total(tensor), 2 * before)


def test_equal_tensors_have_values_of_their_own():
    total, seen = counted()
    tensor = normal(3, 4)
    total(tensor)
    total(tensor.clone())
    assert len(seen) == 2


def test_in_inference_mode_where_changes_are_not_counted_nothing_is_kept():
    total, _ = counted()
    with torch.inference_mode():
        tensor = torch.ones(3)
        assert total(tensor) == 3
        tensor.mul_(2)
        assert total(tensor) == 6


def test_a_value_made_in_inference_mode_is_an_ordinary_tensor():
    total, _ = counted()
    tensor = normal(3, 4)
    with torch.inference_mode():
        assert not total(tensor).is_inference()
    weight = torch.ones((), requires_grad=True, dtype=tensor.dtype)
    (weight * total(tensor)).backward()
    assert weight.grad == total(tensor)


def test_the_tensor_is_not_kept_alive_and_its_value_goes_with_it():
    total = Kept(lambda tensor: tensor.clone())
    tensor = normal(3, 4)
    value = weakref.ref(total(tensor))
    assert value() is not None
    del tensor
    gc.collect()
    assert value() is None
