import pytest
import torch

from revgn_lab import data
from revgn_lab.data.splits import split, subset

pytest.importorskip("sklearn", reason="digits come with scikit-learn")


def test_the_seed_alone_decides_the_rows_and_no_global_random_numbers_are_used_or_changed():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = data.load("digits", rows=100, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = (data.load("digits", rows=100, seed=seed) for seed in (3, 4))
    assert torch.equal(again.inputs, first.inputs)
    assert torch.equal(again.targets, first.targets)
    assert not torch.equal(other.inputs, first.inputs)
    assert torch.equal(other.test_inputs, first.test_inputs)


def test_rows_are_drawn_without_repetition_and_fewer_are_a_prefix_of_more():
    assert sorted(subset(1000, 1000, 0, "a set").tolist()) == list(range(1000))
    assert torch.equal(subset(1000, 50, 0, "a set"), subset(1000, 200, 0, "a set")[:50])


def test_statistics_are_those_of_the_whole_training_part():
    whole, part = data.load("digits", dtype=torch.float64), data.load("digits", rows=10, dtype=torch.float64)
    assert torch.equal(part.test_inputs, whole.test_inputs)
    assert abs(part.inputs.mean()) > 1e-6


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("rows", (0, -1, 1439, 2.5, "10", True), "rows must be a whole number from 1 to 1438"),
        ("seed", (-1, 0.5, None), "seed must be a whole number from 0 on"),
    ],
)
def test_impossible_rows_and_seeds_are_refused_with_what_is_possible(name, values, expected, message):
    for value in values:
        told = message(lambda value=value: data.load("digits", **{"rows": 5, name: value}))
        assert expected in told
        assert told.endswith(f"got {value!r}")


def test_a_split_holds_every_row_once_is_always_the_same_and_not_the_end_of_the_file():
    groups = torch.tensor([0] * 50 + [1] * 10 + [2] * 2)
    train, test = split(groups)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(62))
    assert groups[test].bincount(minlength=3).tolist() == [10, 2, 0]  # a class of two rows keeps both for training
    assert torch.equal(split(groups)[1], test)
    _, test = split(torch.zeros(1000, dtype=torch.int64))
    assert 300 < test.double().mean() < 700
