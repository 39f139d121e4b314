"""The benchmark of small tables: what is trained on, and what counts as an error."""

import pytest
import torch

import small_tables
from small_tables import Split, Trained


def test_a_split_is_standardised_by_its_training_rows_alone():
    on, other = (small_tables.split("diabetes", seed, tiny=False) for seed in (0, 1))
    assert (len(on.inputs), len(on.test_inputs)) == (353, 89)
    for part in (on.inputs, on.targets):
        torch.testing.assert_close(part.mean(0), torch.zeros_like(part[0]), atol=1e-12, rtol=0)
        torch.testing.assert_close(part.std(0, correction=0), torch.ones_like(part[0]))
    assert float(on.test_targets.mean().abs()) > 1e-3
    assert not torch.equal(on.inputs, other.inputs)


def test_the_mean_of_networks_is_judged_by_its_own_error():
    """Two networks that are wrong by one to either side: each is wrong by one, their mean is right."""
    zero = torch.zeros(4, 1)
    on = Split(zero, zero, zero, zero)
    row = small_tables.row("any", "gcv", [on], [[Trained(zero + 1, 1.0, 2, 3.0), Trained(zero - 1, 3.0, 4, 5.0)]])
    assert (row["one"], row["mean"]) == (1.0, 0.0)
    assert (row["seconds"], row["steps"], row["effective"]) == (2.0, 3, 4.0)


@pytest.mark.parametrize(("one", "met"), [(0.74, True), (0.75, False), (None, None)])
def test_what_was_promised_is_checked_where_it_was_measured(one, met):
    checks = small_tables.checks([{"table": "diabetes", "method": "gcv", "one": one, "mean": one}])
    assert [check.met for check in checks if check.claim.startswith("diabetes, one")] == [met]
    assert all(check.met is None for check in checks if not check.claim.startswith("diabetes"))
